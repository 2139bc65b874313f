from pathlib import Path

import pytest
import typer

from scripts import settings_page
from scripts.settings_page import PAGE, page_of_settings


def test_the_page_has_every_setting_and_is_fresh() -> None:
    page = page_of_settings()
    assert PAGE.read_text(encoding="utf-8") == page
    assert "| `ORDER_PAY_WITHIN` | 1800 s | how long an order waits for its payment" in page
    assert "| `lease` | 10 s |" in page


def test_a_page_that_is_not_fresh_fails_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "settings.md"
    monkeypatch.setattr(settings_page, "PAGE", page)
    with pytest.raises(typer.Exit):
        settings_page.settings_page(check=True)
    assert "make docs" in capsys.readouterr().err
    settings_page.settings_page()
    settings_page.settings_page(check=True)
