"""The licences of sources: the Hub's names for them, and which forbid commercial use."""

from __future__ import annotations

import re

# The names that a card's header may hold (Hub documentation, "Licenses").
_HUB = """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0
    bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause
    bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0
    cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0
    cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1
    eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc h-research
    intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl openmdw-1.0
    openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license
    fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 gemma
    unknown other
"""
HUB_NAMES = frozenset(_HUB.split())
# Names that say nothing of what one may do.
_SAY_NOTHING = frozenset({"unknown", "other"})
# For research or non-commercial use by their text, though not by a word of their name.
_BY_TEXT = frozenset({"apple-amlr", "deepfloyd-if-license"})
_WORDS = re.compile(
    r"no[nt]?[-_.+]?comm|research|academic|personal|(^|[-_.+])eval|by-?nc"
    # `ncsa` by itself is a free licence.
    r"|(^|[-_.+])nc([-_.+0-9]|$)|[-_.+]nc(sa|nd)"
)


def is_unknown(name: str | None) -> bool:
    """Whether a licence says nothing of what one may do: none, `unknown`, `other`, or a name that
    is not one of the Hub's, unless its words forbid commercial use.
    """
    if name is None or name in _SAY_NOTHING:
        return True
    return name not in HUB_NAMES and not forbids_commerce(name)


def forbids_commerce(name: str | None) -> bool:
    """Whether a licence, by its name, allows no commercial use: `cc-by-nc-4.0`, `h-research`."""
    return name is not None and (name in _BY_TEXT or _WORDS.search(name) is not None)


def header_names(names: set[str | None]) -> list[str]:
    """The names as the header of a card may hold them: `unknown` for none, `other` for foreign."""
    return sorted(
        {"unknown" if name is None else name if name in HUB_NAMES else "other" for name in names}
    )
