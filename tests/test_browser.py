"""The helper of the browser tests sees what is wrong with a page."""

from browser import chromium, needs_chromium, tab

GOOD = "<!doctype html><html lang=en><title>t</title><main><h1>Fine</h1><p>Readable.</p></main></html>"
BAD = """<!doctype html><html><title>t</title><main><h1>Bad</h1><img src="data:image/png;base64,AAAA">
<div style="width: 3000px">wide</div><p style="color: #eee; background: #fff">pale</p>
<script>console.error("logged"); fetch("http://127.0.0.1:9/"); setTimeout(() => { throw Error("thrown") })</script>
</main></html>"""


@needs_chromium
def test_what_is_wrong_with_a_page_is_found_and_a_good_one_is_let_pass(tmp_path):
    (tmp_path / "good.html").write_text(GOOD)
    (tmp_path / "bad.html").write_text(BAD)
    with chromium() as browser:
        with tab(browser, f"file://{tmp_path}/good.html", width=390) as good:
            assert (good.problems, good.violations(), good.overflow(), good.broken_pictures()) == ([], [], 0, [])
        with tab(browser, f"file://{tmp_path}/bad.html") as bad:
            bad.page.wait_for_timeout(500)
            told = "\n".join(bad.problems)
            assert all(word in told for word in ("console: logged", "exception: thrown", "failed: http://127.0.0.1:9/"))
            rules = {violation.split(":")[0] for violation in bad.violations()}
            assert {"html-has-lang", "image-alt", "color-contrast"} <= rules
            assert bad.overflow() > 1000
            assert len(bad.broken_pictures()) == 1
