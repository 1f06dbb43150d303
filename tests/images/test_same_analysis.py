from __future__ import annotations

from pathlib import Path

from tests.images.prove import merged
from tests.images.same_analysis import compare_tracks


def results(folder: Path, *rows: str) -> Path:
    folder.mkdir()
    (folder / "tracks.txt").write_text("".join(f"{row},-1,-1,-1\n" for row in rows))
    return folder


def test_equal_files_are_told(tmp_path):
    rows = ("1,1,10,20,30,60,0.900", "2,1,11,20,30,60,0.900")
    found = compare_tracks(results(tmp_path / "a", *rows), results(tmp_path / "b", *rows))
    assert (found.identical, found.same, found.sentence()) == (True, 2, "2 track rows, equal byte by byte")


def test_a_row_is_the_same_under_another_number_but_not_with_another_box_or_score(tmp_path):
    first = results(tmp_path / "a", *(f"{frame},1,10,20,30,60,0.900" for frame in (1, 2, 3, 4)))
    second = results(
        tmp_path / "b", "1,7,10,20,30,60,0.900", "2,1,11,20,30,60,0.900", "3,1,10,20,30,60,0.910"
    )  # fmt: skip
    found = compare_tracks(first, second)
    assert (found.rows, found.same, found.identical) == ((4, 3), 1, False)


def test_a_record_keeps_what_was_not_run_this_time():
    earlier = "# Title\n\nWritten by x.\n\n## b: Dockerfile.b\n\n- old b\n\n## a: Dockerfile.a\n\n- old a\n"
    assert merged(earlier, "## b: Dockerfile.b\n\n- new b\n") == (
        "## a: Dockerfile.a\n\n- old a\n\n## b: Dockerfile.b\n\n- new b\n"
    )
    assert merged("", "## a: x\n\n- new\n\n") == "## a: x\n\n- new\n"
