"""What we ask: versioned prompt files with front matter, rendered by `string.Template`.

A published version never changes: the next one is a new file. Substituted values are never
scanned again, so a `$` in a user's text stays what it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import resources
from string import Template

_FIELDS = ("id", "version", "inputs", "output_schema", "source")


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One prompt file.

    `id` includes the version (`gen_score.v1`); `inputs` are the names its text needs;
    `output_schema` is the schema id of the reply, or None; `source` says where the method is from;
    `sha256` is of the whole file and is part of the identity of every answer.
    """

    id: str
    inputs: tuple[str, ...]
    output_schema: str | None
    source: str
    text: str
    sha256: str

    def render(self, values: Mapping[str, str]) -> str:
        """The text with every input filled in.

        Raises KeyError for a missing input and ValueError for one the prompt does not name.
        """
        unknown = set(values) - set(self.inputs)
        if unknown:
            raise ValueError(f"prompt {self.id} has no input {sorted(unknown)}")
        return Template(self.text).substitute(values)


def prompt_ids() -> list[str]:
    """Ids of all prompt files, such as `gen_score.v1`, sorted."""
    files = resources.files(__name__).iterdir()
    return sorted(f.name.removesuffix(".md") for f in files if f.name.endswith(".md"))


@cache
def load_prompt(prompt_id: str) -> Prompt:
    """Read `<prompt_id>.md`.

    Raises FileNotFoundError naming the known ids, ValueError for front matter that is not whole
    or that does not agree with the text or the file name.
    """
    try:
        raw = (resources.files(__name__) / f"{prompt_id}.md").read_text("utf-8")
    except FileNotFoundError:
        known = ", ".join(prompt_ids())
        raise FileNotFoundError(f"no prompt '{prompt_id}'; there are: {known}") from None
    return parse_prompt(raw, prompt_id)


def parse_prompt(raw: str, prompt_id: str) -> Prompt:
    """Split front matter (`key: value` lines between `---`) from the text, and check both.

    Raises ValueError naming the prompt and what is wrong with it.
    """
    opening, _, rest = raw.partition("---\n")
    front, closing, text = rest.partition("\n---\n")
    if opening or not closing:
        raise ValueError(f"prompt {prompt_id}: no front matter between '---' lines")
    fields = {
        k.strip(): v.strip() for k, _, v in (line.partition(":") for line in front.split("\n"))
    }
    if tuple(fields) != _FIELDS:
        raise ValueError(f"prompt {prompt_id}: front matter must be {_FIELDS}, is {tuple(fields)}")
    if f"{fields['id']}.v{fields['version']}" != prompt_id:
        raise ValueError(f"prompt {prompt_id}: calls itself {fields['id']}.v{fields['version']}")
    inputs = tuple(name.strip() for name in fields["inputs"].split(",") if name.strip())
    used = set(Template(text).get_identifiers())
    if used != set(inputs):
        raise ValueError(f"prompt {prompt_id}: inputs {sorted(inputs)}, text uses {sorted(used)}")
    return Prompt(
        id=prompt_id,
        inputs=inputs,
        output_schema=fields["output_schema"] or None,
        source=fields["source"],
        text=text.strip("\n"),
        sha256=sha256(raw.encode()).hexdigest(),
    )
