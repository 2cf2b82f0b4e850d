"""`check --self-test`: faults planted into the text of one network, and what `check` says of each.

A check that agrees says little if it would agree with a wrong network too. Here small faults of
many kinds are planted into the very text that was checked, one at a time, and each is checked.
"""
