"""One HTML page with every picture in it: it asks for nothing from outside, and needs no server."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable

from cnnspec.inspect.sheets import Features, Picture
from cnnspec.version import __version__

__all__ = ["page"]

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""The browser itself refuses whatever would be fetched."""

STYLE = """
:root { color-scheme: light; --ink: #222; --faint: #666; --line: #ddd; --accent: #2f6db3; }
* { box-sizing: border-box; }
body { margin: 0; font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: #fafafa; }
main { margin-left: 17rem; padding: 1.2rem 2rem 4rem; max-width: 84rem; }
nav { position: fixed; inset: 0 auto 0 0; width: 16rem; padding: 1rem; overflow: auto;
  background: #fff; border-right: 1px solid var(--line); }
nav input { width: 100%; padding: .35rem .5rem; font: inherit;
  border: 1px solid #bbb; border-radius: 4px; }
nav ol { list-style: none; margin: .6rem 0 0; padding: 0; }
nav a { display: block; padding: .12rem .3rem; color: var(--accent); text-decoration: none;
  overflow-wrap: anywhere; border-radius: 4px; }
nav a:hover, nav a:focus { background: #eef3f9; }
nav small { color: var(--faint); }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; border-bottom: 1px solid var(--line); }
h2 small { color: var(--faint); font-weight: normal; }
table { border-collapse: collapse; margin: .8rem 0; }
td, th { padding: .15rem .8rem .15rem 0; text-align: left; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
meter { width: 12rem; }
figure { margin: .8rem 0; }
figure img { display: block; max-width: 100%; height: auto; background: #fff; cursor: zoom-in;
  border: 1px solid var(--line); border-radius: 4px; }
.faint { color: var(--faint); }
dialog { border: 0; padding: 0; max-width: 98vw; max-height: 98vh; overflow: auto;
  cursor: zoom-out; }
dialog::backdrop { background: rgba(0, 0, 0, .6); }
dialog img { display: block; }
@media (max-width: 50rem) { nav { position: static; width: auto; }
  main { margin: 0; padding: 1rem; } }
@media print { nav { display: none; } main { margin: 0; } }
"""

SCRIPT = """
"use strict";
const filter = document.querySelector("#filter");
const entries = Array.from(document.querySelectorAll("nav li"));
filter.addEventListener("input", () => {
  const text = filter.value.trim().toLowerCase();
  for (const entry of entries) {
    const shown = entry.dataset.name.toLowerCase().includes(text);
    entry.hidden = !shown;
    document.getElementById(entry.dataset.target).hidden = !shown;
  }
});
const zoom = document.querySelector("dialog");
const large = zoom.querySelector("img");
for (const picture of document.querySelectorAll("figure img")) {
  picture.addEventListener("click", () => {
    large.src = picture.src;
    large.alt = picture.alt;
    large.style.width = 1.6 * picture.naturalWidth + "px";
    zoom.showModal();
  });
}
zoom.addEventListener("click", () => zoom.close());
"""


def page(found: Features) -> str:
    """The page, as text; equal features give equal text."""
    general = [picture for picture in found.pictures if not picture.layer]
    sections = [
        _section("sample", "The sample and the answer", "", _answers(found) + _figures(general))
    ]
    entries = [("sample", "The sample and the answer", "")]
    for number, (layer, op, shape) in enumerate(found.layers):
        own = [picture for picture in found.pictures if picture.layer == layer]
        target = f"layer{number}"
        sections.append(_section(target, layer, f"{op}, {shape}", _figures(own)))
        entries.append((target, layer, f"{op} {shape}"))
    title = f"{_text(found.network)}: filters and feature maps"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="generator" content="cnnspec {__version__}">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<nav aria-label="Layers">
<input id="filter" type="search" placeholder="Filter layers" aria-label="Filter layers">
<ol>
{_navigation(entries)}
</ol>
</nav>
<main>
<h1>{_text(found.network)}</h1>
<p class="faint">Sample: {_text(found.sample)}. Computed by the compiled file
for {_text(found.backend)}.
Every picture has one scale of colours, so that the channels of a layer can be compared.
A click enlarges.</p>
{"".join(sections)}
</main>
<dialog><img alt=""></dialog>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _navigation(entries: Iterable[tuple[str, str, str]]) -> str:
    return "\n".join(
        f'<li data-name="{_text(name)} {_text(what)}" data-target="{target}">'
        f'<a href="#{target}">{_text(name)} <small>{_text(what)}</small></a></li>'
        for target, name, what in entries
    )


def _section(target: str, name: str, what: str, inner: str) -> str:
    small = f" <small>{_text(what)}</small>" if what else ""
    return f'<section id="{target}">\n<h2>{_text(name)}{small}</h2>\n{inner}</section>\n'


def _answers(found: Features) -> str:
    rows = []
    for name, value in found.answers:
        bar = ""
        if found.measured == "probability":
            bar = f'<meter min="0" max="1" value="{value:.6f}">{value:.4f}</meter>'
        rows.append(
            f'<tr><td>{_text(name)}</td><td class="number">{value:.4f}</td><td>{bar}</td></tr>\n'
        )
    head = f"<tr><th>class</th><th>{found.measured}</th><th></th></tr>\n"
    notes = "".join(f"<li>{_text(note)}</li>\n" for note in found.notes)
    listed = f'<ul class="faint">\n{notes}</ul>\n' if notes else ""
    return f"{listed}<table>\n{head}{''.join(rows)}</table>\n"


def _figures(pictures: Iterable[Picture]) -> str:
    return "".join(
        f'<figure><img alt="{_text(p.sheet.title)}; {_text(p.sheet.facts)}" '
        f'src="data:image/png;base64,{base64.b64encode(p.sheet.png).decode()}"></figure>\n'
        for p in pictures
    )


def _text(text: str) -> str:
    return html.escape(text)
