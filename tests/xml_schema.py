"""Holds XML against an XML Schema: the part of the language that tests/schemas/*.xsd use.

That is global and local elements, sequences and choices with occurrences, attributes, mixed and
simple content, and patterns. What it does not know in a schema is an error, never ignored.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

XS = "{http://www.w3.org/2001/XMLSchema}"


class Invalid(Exception):
    """The document does not follow the schema."""


class XmlSchema:
    """A schema, by the names of its global parts."""

    def __init__(self, path: Path) -> None:
        root = ET.parse(path).getroot()  # noqa: S314 - a file of ours
        self.elements = {e.get("name", ""): e for e in root.findall(f"{XS}element")}
        self.types = {
            t.get("name", ""): t for t in root if t.tag in (f"{XS}complexType", f"{XS}simpleType")
        }
        assert len(self.elements) + len(self.types) == len(root)

    def validate(self, text: str) -> ET.Element:
        """The document, if it is valid."""
        root = ET.fromstring(text)  # noqa: S314 - of our own making
        if root.tag not in self.elements:
            raise Invalid(f"no document starts with <{root.tag}>")
        self._element(root, self.elements[root.tag])
        return root

    def _element(self, found: ET.Element, declared: ET.Element) -> None:
        name = declared.get("type")
        if name == "xs:string":
            if len(found) or found.attrib:
                raise Invalid(f"<{found.tag}> is text alone")
            return
        kind = self.types[name] if name else declared.find(f"{XS}complexType")
        assert kind is not None
        self._attributes(found, kind)
        if (
            kind.get("mixed") != "true"
            and "".join([found.text or "", *(child.tail or "" for child in found)]).strip()
        ):
            raise Invalid(f"<{found.tag}> has text")
        known: dict[str, ET.Element] = {}
        parts = [part for part in kind if part.tag != f"{XS}attribute"]
        pattern = "".join(self._particle(part, known) for part in parts)
        if not re.fullmatch(pattern, "".join(f"<{child.tag}>" for child in found)):
            raise Invalid(f"<{found.tag}> holds {[child.tag for child in found]}")
        for child in found:
            self._element(child, known[child.tag])

    def _particle(self, part: ET.Element, known: dict[str, ET.Element]) -> str:
        """A regular expression over the tags of children."""
        if part.tag == f"{XS}element":
            declared = self.elements[part.get("ref", "")] if "ref" in part.attrib else part
            name = declared.get("name", "")
            known[name] = declared
            inner = re.escape(f"<{name}>")
        elif part.tag == f"{XS}sequence":
            inner = "".join(self._particle(each, known) for each in part)
        else:
            assert part.tag == f"{XS}choice", part.tag
            inner = "|".join(self._particle(each, known) for each in part)
        least, most = part.get("minOccurs", "1"), part.get("maxOccurs", "1")
        return f"(?:{inner}){{{least},{'' if most == 'unbounded' else most}}}"

    def _attributes(self, found: ET.Element, kind: ET.Element) -> None:
        declared = {a.get("name", ""): a for a in kind.findall(f"{XS}attribute")}
        for name, value in found.attrib.items():
            if name not in declared:
                raise Invalid(f"<{found.tag}> has no attribute {name}")
            of = declared[name].get("type", "")
            if of != "xs:string":
                pattern = self.types[of].find(f"{XS}restriction/{XS}pattern")
                assert pattern is not None
                if not re.fullmatch(pattern.get("value", ""), value):
                    raise Invalid(f'{name}="{value}" is no {of}')
        for name, attribute in declared.items():
            if attribute.get("use") == "required" and name not in found.attrib:
                raise Invalid(f"<{found.tag}> needs {name}")
