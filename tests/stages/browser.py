"""A page in a real browser: scripts that use and judge it, and what they tell.

Wants Chromium (Debian's package `chromium`); to judge also axe-core (`npm install axe-core` in the
checkout, or its folder in AXE_CORE).
"""

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.walk import HOME

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = Path(os.environ.get("AXE_CORE", HOME / "node_modules/axe-core")) / "axe.min.js"
TELLS = """
<script>
const tell = (found) => document.body.replaceChildren(
  Object.assign(document.createElement("pre"), { id: "told", textContent: JSON.stringify(found) }));
</script>
"""
USES_IT = """
<script>
const set = (id, value) => { const one = document.getElementById(id);
  if (one.type === "checkbox") one.checked = value; else one.value = value;
  one.dispatchEvent(new Event("change")); };
const seen = () => [...document.querySelectorAll(".query")].map((one) => ({
  title: one.querySelector("h3").textContent,
  marks: [...one.querySelectorAll("li .frame")].map((frame) => frame.className),
  alts: [...one.querySelectorAll("img:not(.heat)")].map((image) => image.alt),
  drawn: [...one.querySelectorAll("img:not(.heat)")].every((image) => image.naturalWidth > 0) }));
const key = (name) => document.activeElement.dispatchEvent(
  new KeyboardEvent("keydown", { key: name, bubbles: true }));
const overlays = () => [...document.querySelectorAll("img.heat")].filter((one) => one.offsetParent);
const box = (image) => { const at = image.getBoundingClientRect();  // of what object-fit: contain shows
  const scale = Math.min(at.width / image.naturalWidth, at.height / image.naturalHeight);
  const [width, height] = [scale * image.naturalWidth, scale * image.naturalHeight];
  const [left, top] = [at.left + (at.width - width) / 2, at.top + (at.height - height) / 2];
  return [left, top, left + width, top + height]; };
const apart = (heat) => { const [one, other] = [box(heat), box(heat.previousSibling)];
  return Math.max(...one.map((edge, at) => Math.abs(edge - other[at]))); };
const FOCUS = "a[href], select, input, button, summary, [tabindex]";
const stops = () => [...document.querySelectorAll(FOCUS)].filter(
  (one) => one.offsetParent && one.tabIndex >= 0);
const back = (next, last) => next.bottom <= last.top || (next.top < last.bottom && next.right <= last.left);
const jumps = () => { const at = stops().map((one) => one.getBoundingClientRect());
  return at.slice(1).filter((next, number) => back(next, at[number])).length; };
const focused = () => [...document.querySelectorAll(".query")].indexOf(document.activeElement);
addEventListener("load", () => setTimeout(() => {
  const page = document.documentElement;
  const told = { at_first: seen(), count: document.getElementById("count").textContent,
    numbers: [...document.querySelectorAll(".value")].map((value) => value.textContent),
    beside: page.scrollWidth - page.clientWidth, stops: stops().length, jumps: jumps(),
    ranked_by_hand: stops().filter((one) => one.tabIndex > 0).length };
  document.getElementById("more").click();
  told.more = seen().length;
  set("domain", "green"); told.green = seen();
  set("ranking", "a/epoch_1"); set("distance", "plain"); told.plain = seen();
  set("failed", true); told.failed = seen().length;
  set("failed", false); set("order", "best"); told.best = seen();
  key("j"); key("j"); told.focus = focused();
  key("k"); told.back = focused();
  set("order", "worst"); set("ranking", "fusion"); set("distance", "re-ranked"); set("domain", "");
  told.cold = overlays().length;
  document.querySelector(".strip").focus();
  key("h");
  const hot = overlays();
  told.hot = hot.length; told.looked = document.getElementById("looked").offsetParent !== null;
  Promise.all(hot.flatMap((one) => [one.decode(), one.previousSibling.decode()])).then(() => {
    told.apart = Math.max(...hot.map(apart));
    key("h"); told.cooled = overlays().length;
    tell(told);
  });
}, 50));
</script>
"""
JUDGES_IT = """
<script>%s</script>
<script>
addEventListener("load", () => axe.run().then((found) => {
  tell(found.violations.map((one) => [one.id, one.nodes.map((node) => node.html + node.failureSummary)]));
}));
</script>
"""


def in_the_browser(page: str, script: str, place: Path, *options: str) -> Any:
    """What the script wrote into the page's `told` at the end of its work."""
    if CHROMIUM is None:
        pytest.skip("needs a browser: apt-get install chromium")
    file = place / "page.html"
    file.write_text(page.replace("</body>", TELLS + script + "</body>"), encoding="utf-8")
    command = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={place / 'profile'}",
        "--virtual-time-budget=20000", *options, "--dump-dom", file.as_uri(),
    ]  # fmt: skip
    printed = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False).stdout
    told = re.search(r'<pre id="told">(.*?)</pre>', printed, re.DOTALL)
    assert told, printed[-2000:]
    return json.loads(html.unescape(told[1]))
