"""Compare the outputs that two dvc.lock files describe; exit with 1 if any differs."""

import sys
from pathlib import Path

from ruamel.yaml import YAML


def outs_of(lock: Path) -> dict[str, str]:
    """Return the digest of every output, by its path."""
    stages = YAML(typ="safe").load(lock.read_text(encoding="utf-8"))["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", ())}


def main() -> None:
    """Print every path whose digest differs, or that only one of the two has."""
    before, after = (outs_of(Path(name)) for name in sys.argv[1:])
    moved = [
        f"  {path}: {before.get(path, 'absent')} -> {after.get(path, 'absent')}\n"
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    ]
    same = len(before.keys() | after.keys()) - len(moved)
    sys.stdout.write(f"{same} outputs are the same, {len(moved)} are not\n{''.join(moved)}")
    sys.exit(1 if moved else 0)


if __name__ == "__main__":
    main()
