// SPDX-License-Identifier: Apache-2.0
// Slice viewer. A page may hold several: each <section data-viewer> has its data in a script element and gets a property
// `viewer` with show(number), mark(id) and the number shown; it sends the event "slice" after each change. Slices are
// JPEGs whose greys stand for HU (lungcad/results/stack.py); greys rise with HU, so a slab's largest grey is its MIP.
"use strict";

/** Colour (32 bits, opaque grey) by grey of the stack, for a window of level and width in HU. */
function windowTable(data, [level, width]) {
  const table = new Uint32Array(256);
  let knot = 0;
  for (let grey = 0; grey < 256; grey++) {
    while (grey > data.grey[knot + 1]) knot++;
    const share = (grey - data.grey[knot]) / (data.grey[knot + 1] - data.grey[knot]);
    const hu = data.hu[knot] + share * (data.hu[knot + 1] - data.hu[knot]);
    const value = Math.max(0, Math.min(255, Math.round((hu - level + width / 2) * 255 / width)));
    table[grey] = (0xff000000 | value << 16 | value << 8 | value) >>> 0;
  }
  return table;
}

/** Text of a number with a typographic minus sign. */
function minus(number) { return String(number).replace("-", "−"); }

/** Whether this browser gives back the pixels that were drawn; some return noise against fingerprinting. */
function canvasIsExact() {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  for (let x = 0; x < 16; x++) {
    context.fillStyle = `rgb(${x * 16} ${x * 16} ${x * 16})`;
    context.fillRect(x, 0, 1, 1);
  }
  const pixels = context.getImageData(0, 0, 16, 1).data;
  return [...Array(16).keys()].every((x) => pixels[4 * x] === x * 16);
}

function startViewer(root) {
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const data = JSON.parse(part("data").textContent);
  const count = data.pixels.length, size = data.columns * data.rows, exact = canvasIsExact();
  const context = part("picture").getContext("2d");
  const hidden = Object.assign(document.createElement("canvas"), { width: data.columns, height: data.rows });
  const scratch = hidden.getContext("2d", { willReadFrequently: true });
  const output = context.createImageData(data.columns, data.rows);
  const colours = new Uint32Array(output.data.buffer), slab = new Uint8Array(size);
  const greys = new Array(count), loading = new Array(count);
  let number = Math.floor(count / 2), chosen = null, windowName = "lung", table, asked = 0;

  /** Greys of a slice, decoded once. */
  function load(index) {
    loading[index] ??= (async () => {
      const picture = new Image();
      picture.src = `data:image/jpeg;base64,${data.pixels[index]}`;
      await picture.decode();
      scratch.drawImage(picture, 0, 0);
      const rgba = scratch.getImageData(0, 0, data.columns, data.rows).data;
      const grey = greys[index] = new Uint8Array(size);
      for (let i = 0; i < size; i++) grey[i] = rgba[4 * i];
      if (!exact) greys[index].picture = picture;
    })();
    return loading[index];
  }

  /** First and last slice of the slab around the slice shown. */
  function range() {
    const reach = Math.floor(Number(part("slab").value) / 2 / data.step + 1e-6);
    return [Math.max(0, number - reach), Math.min(count - 1, number + reach)];
  }

  async function draw() {
    const [low, high] = range(), request = ++asked;
    const missing = [];
    for (let index = low; index <= high; index++) if (!greys[index]) missing.push(load(index));
    if (missing.length) await Promise.all(missing);
    if (request !== asked) return; // a later slice was asked for meanwhile
    if (!exact) {
      context.drawImage(greys[number].picture, 0, 0);
    } else {
      let shown = greys[number];
      if (low < high) {
        slab.set(greys[low]);
        for (let index = low + 1; index <= high; index++) {
          const grey = greys[index];
          for (let i = 0; i < size; i++) if (grey[i] > slab[i]) slab[i] = grey[i];
        }
        shown = slab;
      }
      for (let i = 0; i < size; i++) colours[i] = table[shown[i]];
      context.putImageData(output, 0, 0);
    }
    root.dataset.drawn = number; // for tests
  }

  function svg(name, attributes, text) {
    const element = document.createElementNS(part("overlay").namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  }

  /** Marks of a finding on the slices from low to high; none where they miss it. */
  function marksOf(mark, low, high) {
    if (!mark.reported && mark.id !== chosen) return [];
    const kind = mark.reported ? "" : " candidate", shapes = [];
    const nearest = Math.max(low, Math.min(high, Math.round(mark.level)));
    const outlined = [...Array(high - low + 1).keys()].map((i) => low + i).filter((index) => mark.paths[index])
      .sort((a, b) => Math.abs(a - nearest) - Math.abs(b - nearest)); // in a slab the one nearest to the centre
    if (outlined.length) shapes.push(svg("path", { class: "path", d: mark.paths[outlined[0]] }));
    const away = (mark.level - nearest) * data.step, touches = Math.abs(mark.level - nearest) <= 0.5;
    if (!Object.keys(mark.paths).length || (!shapes.length && touches)) {
      const square = (mark.radius ?? 0) ** 2 - away ** 2;
      if (mark.radius && (square > 0 || touches)) {
        shapes.push(svg("circle", { class: `ring${kind}`, cx: mark.x, cy: mark.y,
          r: touches ? mark.radius : Math.sqrt(square) }));
      } else if (!mark.radius && touches) {
        shapes.push(svg("path", { class: `ring${kind}`,
          d: `M${mark.x - 8} ${mark.y}h4m8 0h4M${mark.x} ${mark.y - 8}v4m0 8v4` }));
      }
    }
    if (!shapes.length) return [];
    const off = 0.75 * (mark.radius ?? 6) + 3, unit = data.width * 0.035;
    const label = { class: "number", x: mark.x + off, y: mark.y - off, "font-size": unit };
    return [...shapes, svg("text", label, mark.id)];
  }

  function describe() {
    const [low, high] = range(), list = part("list");
    const marked = data.marks.map((mark) => [mark.id, marksOf(mark, low, high)]).filter(([, shapes]) => shapes.length);
    const letters = [["R", 0.03, 0.5], ["L", 0.97, 0.5], ["A", 0.5, 0.06], ["P", 0.5, 0.98]].map(([letter, x, y]) =>
      svg("text", { x: data.width * x, y: data.height * y, "text-anchor": "middle", "font-size": data.width * 0.03 }, letter));
    const shapes = part("marks").checked ? marked.flatMap(([, found]) => found) : [];
    part("overlay").replaceChildren(...letters, ...shapes);
    const image = data.images[number] === null ? "" : `, image ${data.images[number]}`;
    const where = `Slice ${data.slices[number]} of ${data.count}${image}, z ${minus(data.z[number].toFixed(1))} mm`;
    const ids = marked.map(([id]) => id), found = ids.length ? `, finding ${ids.join(", ")}` : "";
    const setting = (exact ? `${windowName === "lung" ? "Lung" : "Soft tissue"} window: level ${minus(data.windows[windowName][0])}, ` +
      `width ${data.windows[windowName][1]} HU` : "Fixed window: this browser does not let pages read pictures") +
      (low < high && exact ? `; MIP of ${high - low + 1} slices` : "");
    part("where").textContent = where;
    part("setting").textContent = setting;
    part("slider").value = number;
    part("slider").setAttribute("aria-valuetext", where + found);
    part("picture").setAttribute("aria-label", `Axial slice. ${where}${found}. ${setting}`);
    for (const item of list ? list.children : []) {
      item.setAttribute("aria-current", ids.includes(Number(item.dataset.finding)) ? "true" : "false");
    }
  }

  function update() {
    table = windowTable(data, data.windows[windowName]);
    for (const button of root.querySelectorAll("[data-window]")) {
      button.setAttribute("aria-pressed", String(button.dataset.window === windowName));
    }
    describe();
    draw();
  }

  function show(wanted, quiet = false) {
    const bounded = Math.max(0, Math.min(count - 1, Math.round(wanted)));
    if (bounded === number && root.dataset.drawn !== undefined) return;
    number = bounded;
    describe();
    draw();
    if (!quiet) root.dispatchEvent(new CustomEvent("slice", { detail: { number, z: data.z[number] } }));
  }

  /** Show a finding; one below the threshold is marked from then on until another is chosen. */
  function mark(id) {
    const found = data.marks.find((one) => one.id === id);
    if (!found) return;
    chosen = id;
    show(found.level);
    describe();
  }

  /** Next (1) or previous (-1) finding by its slice, from the feet to the head. */
  function step(direction) {
    const order = data.marks.filter((one) => one.reported).sort((a, b) => direction * (a.level - b.level) || a.id - b.id);
    const at = order.findIndex((one) => one.id === chosen && Math.round(one.level) === number);
    const next = at >= 0 ? order[at + 1] : order.find((one) => direction * (Math.round(one.level) - number) >= 0);
    if (next ?? order[0]) mark((next ?? order[0]).id);
  }

  function setWindow(name) { windowName = name; update(); }

  const keys = {
    ArrowUp: () => show(number + 1), ArrowDown: () => show(number - 1), ArrowRight: () => show(number + 1),
    ArrowLeft: () => show(number - 1), PageUp: () => show(number + 10), PageDown: () => show(number - 10),
    Home: () => show(0), End: () => show(count - 1), n: () => step(1), p: () => step(-1),
    w: () => setWindow(windowName === "lung" ? "soft" : "lung"), m: () => part("marks").click(),
  };
  root.addEventListener("keydown", (event) => {
    const action = keys[event.key] ?? keys[event.key.toLowerCase()];
    const inControl = event.target.matches("select") || event.ctrlKey || event.metaKey || event.altKey;
    if (!action || inControl) return;
    event.preventDefault();
    action();
  });

  const stage = part("stage");
  let turned = 0, from = null;
  stage.addEventListener("wheel", (event) => {
    if (event.ctrlKey) return; // zooms the page
    event.preventDefault();
    turned += event.deltaMode === 0 ? event.deltaY / 80 : event.deltaY / 2; // pixels, or lines
    const slices = Math.trunc(turned);
    turned -= slices;
    if (slices) show(number - slices);
  }, { passive: false });
  stage.addEventListener("pointerdown", (event) => {
    part("slider").focus({ preventScroll: true });
    from = { y: event.clientY, number };
    stage.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  stage.addEventListener("pointermove", (event) => {
    if (from) show(from.number - (event.clientY - from.y) / Math.max(3, stage.clientHeight / count));
  });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => { from = null; });

  part("slider").addEventListener("input", (event) => show(Number(event.target.value)));
  part("slab").addEventListener("change", update);
  part("marks").addEventListener("change", (event) => {
    document.documentElement.classList.toggle("marks-off", !event.target.checked);
    describe();
  });
  for (const button of root.querySelectorAll("[data-window]")) {
    button.addEventListener("click", () => setWindow(button.dataset.window));
  }

  /** Decode the other slices meanwhile, the nearest first. */
  async function loadAll() {
    const order = [...Array(count).keys()].sort((a, b) => Math.abs(a - number) - Math.abs(b - number));
    for (const index of order) {
      await load(index);
      await new Promise((resolve) => setTimeout(resolve));
    }
    root.dataset.loaded = count; // for tests
  }

  root.viewer = { show, mark, get number() { return number; }, data };
  root.hidden = false;
  const first = data.marks.find((one) => one.reported);
  if (first) number = Math.max(0, Math.min(count - 1, Math.round(first.level)));
  update();
  setTimeout(loadAll, 100);
}

document.querySelectorAll("[data-viewer]").forEach(startViewer);
