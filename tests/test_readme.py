"""What the README shows is run, and what it calls exists."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = sorted(
    {
        (words[0], word)
        for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
        for line in re.findall(r"^rtsep (.*)$", block, re.MULTILINE)
        for words in [shlex.split(line, comments=True)]
        for word in words
        if word.startswith("--")
    }
)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_python_examples_run(example):
    exec(compile(example, "README.md", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("command", sorted({command for command, _ in COMMANDS}))
def test_commands_have_the_options_shown(command):
    done = subprocess.run(
        [sys.executable, "-m", "rtsep", command, "--help"],
        capture_output=True,
        text=True,
        env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"},
    )
    assert done.returncode == 0, done.stderr
    for of, option in COMMANDS:
        if of == command:
            assert re.search(rf"{option}\b", done.stdout), f"rtsep {command} lacks {option}"
