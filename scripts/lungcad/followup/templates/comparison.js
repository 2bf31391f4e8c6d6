// SPDX-License-Identifier: Apache-2.0
// Slider and wheel of a nodule's card: both scans show the same plane.
"use strict";

for (const card of document.querySelectorAll(".card[id]")) {
  const slider = card.querySelector("input");
  const show = () => card.style.setProperty("--k", slider.value);
  slider.addEventListener("input", show);
  for (const view of card.querySelectorAll(".view"))
    view.addEventListener("wheel", event => {
      event.preventDefault();
      slider.value = Number(slider.value) + (event.deltaY < 0 ? 1 : -1);
      show();
    }, { passive: false });
}
