// SPDX-License-Identifier: Apache-2.0
// Buttons of a page: dark or light, copy a text, jump from a row or card to the slice of its finding.
"use strict";

for (const button of document.querySelectorAll("[data-show]")) {
  const root = button.closest("[data-viewer]") ?? document.querySelector("[data-viewer]");
  if (!root?.viewer?.data.marks.some((mark) => mark.id === Number(button.dataset.show))) continue;
  button.hidden = false;
  button.addEventListener("click", () => {
    root.viewer.mark(Number(button.dataset.show));
    if (root.contains(button)) return;
    root.scrollIntoView({ block: "start" });
    root.querySelector("[data-part='slider']").focus({ preventScroll: true });
  });
}

for (const button of document.querySelectorAll("[data-theme-switch]")) {
  const dark = () => (document.documentElement.dataset.theme ??
    (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const name = () => { button.textContent = dark() ? "Light page" : "Dark page"; };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    name();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  button.hidden = false;
  name();
}

for (const button of document.querySelectorAll("[data-copy]")) {
  const text = document.getElementById(button.dataset.copy), told = document.getElementById(`${text.id}-told`);
  button.hidden = false;
  button.addEventListener("click", async () => {
    text.select();
    let done = false;
    try {
      await navigator.clipboard.writeText(text.value);
      done = true;
    } catch {
      done = document.execCommand("copy"); // where a page from a file may not use the clipboard otherwise
    }
    told.textContent = done ? "Copied." : "Selected: press Ctrl+C.";
  });
}
