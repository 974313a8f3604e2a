"""The page in a real browser, end to end, on a model whose answers are known by hand."""

import base64
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from browser import chromium, needs_chromium, tab
from drawing import encoded, halves, turned, write_brightness_model
from PIL import Image
from served import served

pytestmark = needs_chromium

OLD, NEW = 1700000000, 1700000100
LEFT, RIGHT = 20, 230
NIGHT, DAY = (0x10, 0x20, 0x30), (0x20, 0xC0, 0x40)


def rgb(height: int = 60, width: int = 90) -> np.ndarray:
    """Night on the left, day on the right."""
    return np.repeat(halves(LEFT, RIGHT, height, width)[..., np.newaxis], 3, axis=-1)


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def models(tmp_path_factory, brightness, bright) -> Path:
    """A serving folder whose older version says the contrary of the newer."""
    folder = tmp_path_factory.mktemp("serving_model")
    write_brightness_model(folder / str(OLD), bright, inverted=True)
    shutil.copytree(brightness, folder / str(NEW))
    return folder


@pytest.fixture(scope="module")
def url(models):
    with served(models, max_pixels=20_000) as url:
        yield url


def push(models: Path, folder: Path, version: int) -> None:
    """A version appears at once and whole."""
    shutil.copytree(models / str(version), folder / "part")
    (folder / "part").rename(folder / str(version))


HAND_OVER = """([event, files]) => {
  const transfer = new DataTransfer();
  for (const [name, type, base64] of files) {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type }));
  }
  const given = event === "paste"
    ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true })
    : new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
  document.body.dispatchEvent(given);
}"""


def hand_over(seen, *files: tuple[str, bytes], event: str = "drop") -> None:
    """Drops or pastes files, as a person does with the mouse or the keyboard."""
    packed = [[name, "image/" + name.rpartition(".")[2], base64.b64encode(data).decode()] for name, data in files]
    seen.page.evaluate(HAND_OVER, [event, packed])


def shown(seen, version: int = NEW) -> None:
    """Waits until an answer is on the screen."""
    seen.page.get_by_text(f"version {version}", exact=False).and_(seen.page.locator("#facts")).wait_for()


def colours(seen) -> tuple[list[int], list[int]]:
    """Red, green and blue of the canvas near its left and its right edge."""
    return tuple(
        seen.page.evaluate(
            """(x) => { const c = document.getElementById("canvas");
            return [...c.getContext("2d").getImageData(x * c.width, c.height / 2, 1, 1).data.slice(0, 3)]; }""",
            at,
        )
        for at in (0.1, 0.9)
    )


def mixed(photo: int, colour: tuple[int, int, int], opacity: float):
    return pytest.approx([photo * (1 - opacity) + c * opacity for c in colour], abs=4)


def set_opacity(seen, percent: int) -> None:
    seen.page.get_by_label("Opacity").fill(str(percent))


def saved(seen, button: str) -> tuple[str, Image.Image]:
    """Name and picture of what a button downloads."""
    with seen.page.expect_download() as download:
        seen.page.get_by_role("button", name=button).click()
    return download.value.suggested_filename, Image.open(io.BytesIO(Path(download.value.path()).read_bytes()))


def test_a_dropped_photo_shows_its_mask_shares_and_confidence(browser, url):
    with tab(browser, url) as seen:
        hand_over(seen, ("two halves.png", encoded(rgb(), "PNG")))
        shown(seen)
        assert seen.page.locator("#facts").inner_text() == f"two halves.png, 90 × 60, version {NEW}"
        # The background's colour starts switched off.
        assert colours(seen) == ([LEFT] * 3, mixed(RIGHT, DAY, 0.5))
        set_opacity(seen, 100)
        assert colours(seen) == ([LEFT] * 3, list(DAY))
        set_opacity(seen, 0)
        assert colours(seen) == ([LEFT] * 3, [RIGHT] * 3)
        set_opacity(seen, 80)
        seen.page.get_by_role("checkbox", name="night").check()
        assert colours(seen) == (mixed(LEFT, NIGHT, 0.8), mixed(RIGHT, DAY, 0.8))
        seen.page.get_by_role("checkbox", name="day").uncheck()
        assert colours(seen) == (mixed(LEFT, NIGHT, 0.8), [RIGHT] * 3)
        shares = [float(text.removesuffix(" %")) for text in seen.page.locator(".share").all_inner_texts()]
        assert len(shares) == 3 and sum(shares) == pytest.approx(100, abs=0.2) and shares[0] == pytest.approx(50, abs=6)
        # Sure of all but the border between the halves.
        assert 98 < float(seen.page.locator("#confidence").inner_text().removesuffix(" %")) < 100
        set_opacity(seen, 100)
        seen.page.get_by_role("radio", name="Confidence").check()
        assert colours(seen) == ([11, 29, 58], [11, 29, 58])
        assert seen.page.get_by_text("Probability of the class that won").is_visible()
        assert seen.problems == []


def test_mask_and_overlay_are_downloaded_at_the_photos_own_size(browser, url):
    with tab(browser, url) as seen:
        hand_over(seen, ("cat.1.png", encoded(rgb(), "PNG")))
        shown(seen)
        name, mask = saved(seen, "Download mask")
        assert (name, mask.mode, mask.size) == ("cat.1-mask.png", "P", (90, 60))
        values = np.asarray(mask)
        assert set(np.unique(values[:, :40])) == {7} and set(np.unique(values[:, 50:])) == {200}
        set_opacity(seen, 100)
        name, overlay = saved(seen, "Download overlay")
        assert (name, overlay.size) == ("cat.1-overlay.png", (90, 60))
        pixels = np.asarray(overlay.convert("RGB"))
        assert pixels[30, 5].tolist() == [LEFT] * 3 and pixels[30, 85].tolist() == list(DAY)
        assert seen.problems == []


def test_another_version_can_be_chosen(browser, url):
    with tab(browser, url) as seen:
        hand_over(seen, ("a.png", encoded(rgb(), "PNG")))
        shown(seen)
        set_opacity(seen, 100)
        assert seen.page.get_by_label("Version").locator("option").first.inner_text() == f"newest ({NEW})"
        seen.page.get_by_label("Version").select_option(str(OLD))
        shown(seen, OLD)
        assert colours(seen) == (list(DAY), [RIGHT] * 3), "the older model says the contrary"
        seen.page.get_by_label("Version").select_option("")
        shown(seen, NEW)
        assert colours(seen) == ([LEFT] * 3, list(DAY))
        assert seen.problems == []


def test_several_photos_each_in_its_turn_and_a_broken_one_spoils_none(browser, url):
    with tab(browser, url) as seen:
        good, dark = encoded(rgb(), "JPEG", quality=95), encoded(np.full([40, 40, 3], LEFT, np.uint8), "PNG")
        large = encoded(np.zeros([300, 300], np.uint8), "PNG")
        hand_over(seen, ("good.jpg", good), ("broken.jpg", b"this is no photo"), ("dark.png", dark), ("big.png", large))
        shown(seen)
        seen.page.get_by_role("button", name="broken.jpg").click()
        alert = seen.page.get_by_role("alert")
        alert.wait_for()
        assert "broken.jpg: the photo cannot be decoded" in alert.inner_text()
        assert not seen.page.locator("#canvas").is_visible()
        assert seen.violations() == []
        seen.page.get_by_role("button", name="big.png").click()
        alert.get_by_text("300x300 pixels are more than data.max_pixels 20000").wait_for()
        seen.page.get_by_role("button", name="dark.png").click()
        seen.page.get_by_text("dark.png, 40 × 40").wait_for()
        assert not alert.is_visible()
        seen.page.get_by_role("button", name="good.jpg").click()
        seen.page.get_by_text("good.jpg, 90 × 60").wait_for()
        # The refusals of the two, which the browser reports as failed loads, and nothing else.
        assert {problem for problem in seen.problems if "exception" in problem or "failed:" in problem} == set()
        assert sorted(p.split(":")[0] for p in seen.problems if "console" not in p) == ["400", "413"]


@pytest.mark.parametrize(
    ("name", "photo"),
    [
        ("lying.jpg", encoded(np.rot90(rgb()).copy(), "JPEG", quality=95, **turned(6))),
        ("photo.tiff", encoded(rgb(), "TIFF")),
        ("lying.tiff", encoded(Image.fromarray(np.rot90(rgb()).copy()), "TIFF", **turned(6))),
    ],
    ids=["a JPEG that EXIF turns", "a format that browsers do not show", "both"],
)
def test_photo_and_mask_stay_aligned(browser, url, name, photo):
    with tab(browser, url) as seen:
        hand_over(seen, (name, photo))
        shown(seen)
        assert seen.page.locator("#facts").inner_text().startswith(f"{name}, 90 × 60")
        set_opacity(seen, 100)
        left, right = colours(seen)
        assert left == pytest.approx([LEFT] * 3, abs=4) and right == list(DAY)
        set_opacity(seen, 0)
        assert colours(seen) == (pytest.approx([LEFT] * 3, abs=4), pytest.approx([RIGHT] * 3, abs=4))
        assert seen.problems == []


def test_a_pasted_photo_and_the_keyboard_alone(browser, url):
    with tab(browser, url) as seen:
        hand_over(seen, ("image.png", encoded(rgb(), "PNG")), event="paste")
        shown(seen)
        keyboard = seen.page.keyboard
        seen.page.get_by_label("Opacity").focus()
        keyboard.press("End")
        assert colours(seen)[1] == list(DAY)
        keyboard.press("Tab")
        assert seen.page.evaluate("document.activeElement.closest('label').innerText").startswith("night")
        keyboard.press("Space")
        assert colours(seen)[0] == list(NIGHT)
        seen.page.get_by_role("radio", name="Mask").focus()
        keyboard.press("ArrowRight")
        assert colours(seen) == ([11, 29, 58], [11, 29, 58])
        seen.page.locator("#version").focus()
        keyboard.press("Tab")
        assert seen.page.evaluate("document.activeElement.id") == "files", "photos can be chosen without a mouse"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_everyone_can_read_it(browser, url, width, scheme):
    with tab(browser, url, width=width, scheme=scheme) as seen:
        seen.page.get_by_text("newest (", exact=False).wait_for(state="attached")
        assert (seen.violations(), seen.overflow()) == ([], 0)
        seen.page.locator("#files").set_input_files(
            [
                {"name": f"{'long name ' * 12}{n}.png", "mimeType": "image/png", "buffer": encoded(rgb(), "PNG")}
                for n in range(9)
            ]
        )
        shown(seen)
        assert (seen.violations(), seen.overflow()) == ([], 0)
        seen.page.get_by_role("radio", name="Confidence").check()
        assert (seen.violations(), seen.overflow()) == ([], 0)
        assert seen.problems == []


def test_the_page_says_that_no_model_is_there_and_notices_pushes(browser, tmp_path, models):
    with served(tmp_path, ready=False) as url, tab(browser, url) as seen:
        state = seen.page.locator("#model-state")
        state.get_by_text("No model is pushed yet").wait_for()
        push(models, tmp_path, OLD)
        state.wait_for(state="hidden")
        hand_over(seen, ("a.png", encoded(rgb(), "PNG")))
        shown(seen, OLD)
        push(models, tmp_path, NEW)
        shown(seen, NEW)
        assert seen.problems == []


def test_nothing_comes_from_elsewhere(browser, url):
    asked = []
    with tab(browser, url) as seen:
        seen.page.on("request", lambda request: asked.append(request.url))
        hand_over(seen, ("a.png", encoded(rgb(), "PNG")))
        shown(seen)
        blocked = seen.page.evaluate("fetch('http://127.0.0.2/').then(() => 'allowed', () => 'blocked')")
    assert blocked == "blocked"
    assert {address.split("/api/")[0] for address in asked if not address.startswith(("blob:", "data:"))} <= {
        url,
        "http://127.0.0.2/",
    }
