// Channels of the stages over the image, and what the cell under the pointer can see, without the server. See app/views/stages/page.py.
export default function ({ data, parentElement: root, setStateValue }) {
  const state = root.pmsi ??= { timer: 0, images: {} };
  if (state.link !== data.link) {
    const channels = data.panels.map(({ stages }) => stages.map(({ picked }) => picked));
    Object.assign(state, { link: data.link, n: data.start, channels, at: null });
  }
  state.tell = setStateValue;
  if (state.version === data.version && root.querySelector(".panel")) return; // what is replaced below a pressed button gets no click
  state.version = data.version;
  const short = (number) => String(+number.toPrecision(3)).replace("-", "−");
  const make = (parent, tag, name = "", text = "") => {
    const made = Object.assign(document.createElement(tag), { className: name, textContent: text });
    parent.append(made);
    return made;
  };
  const tileOf = (panel, n) => {
    const { tiles } = data.panels[panel].stages[n];
    return tiles.find(({ channel }) => channel === state.channels[panel][n]) ?? tiles[0]; // the strongest one
  };

  // Values are sent as 16 bits between a channel's least and largest.
  function valuesOf(tile) {
    if (!tile.numbers) {
      const bytes = Uint8Array.from(atob(tile.values), (letter) => letter.charCodeAt(0));
      tile.numbers = new Uint16Array(bytes.buffer);
    }
    return (cell) => tile.least + (tile.numbers[cell] / 65535) * (tile.most - tile.least);
  }

  function cellOf({ h, w }) {
    const inside = (part, count) => Math.min(count - 1, Math.max(0, Math.floor(part * count)));
    return [inside(state.at[1], h), inside(state.at[0], w)];
  }

  function peakOf(tile, w) {
    valuesOf(tile);
    const best = tile.numbers.indexOf(tile.numbers.reduce((a, b) => Math.max(a, b)));
    return [Math.floor(best / w), best % w];
  }

  const put = (row, column, { h, w }) => { state.at = [(column + .5) / w, (row + .5) / h]; };
  const toPeak = (panel, n) => {
    const stage = data.panels[panel].stages[n];
    put(...peakOf(tileOf(panel, n), stage.w), stage);
  };

  // The image as grey of one brightness, nearly: that of pmsi.pictures.overlays.
  function groundOf(picture) {
    const ground = new OffscreenCanvas(picture.naturalWidth, picture.naturalHeight), context = ground.getContext("2d");
    const [dark, bright] = data.ground;
    context.fillStyle = `rgb(${Array(3).fill(255 * dark / (1 - bright + dark))})`;
    context.fillRect(0, 0, ground.width, ground.height);
    context.globalAlpha = bright - dark;
    context.filter = "grayscale(1)";
    context.drawImage(picture, 0, 0);
    return ground;
  }

  // A square of colour for each cell, over the image.
  function paint(canvas, panel, n, tile) {
    const { image, stages } = data.panels[panel], { h, w } = stages[n], picture = state.images[image];
    if (!picture?.complete) return;
    const side = canvas.width = canvas.height = picture.naturalWidth, context = canvas.getContext("2d");
    context.drawImage(picture, 0, 0);
    context.globalAlpha = Math.min(1, 2 * data.strength);
    context.drawImage(picture.ground ??= groundOf(picture), 0, 0);
    const low = Math.min(0, tile.least), range = tile.most - low || 1;
    const cells = new OffscreenCanvas(w, h), pixels = new ImageData(w, h), value = valuesOf(tile);
    for (let cell = 0; cell < h * w; cell++) {
      const color = 3 * Math.round(255 * (value(cell) - low) / range);
      pixels.data.set([...data.colors.slice(color, color + 3), 255], 4 * cell);
    }
    cells.getContext("2d").putImageData(pixels, 0, 0);
    context.globalAlpha = data.strength;
    context.imageSmoothingEnabled = false;
    context.drawImage(cells, 0, 0, side, side);
  }

  // Dark outside of what the cell can see; both framed.
  function light(svg, panel, n) {
    const { size, stages } = data.panels[panel], stage = stages[n], [row, column] = cellOf(stage);
    const [high, wide] = [size / stage.h, size / stage.w];
    const cell = `<rect x="${column * wide}" y="${row * high}" width="${wide}" height="${high}" fill="none" stroke="#fff" stroke-width="1.5"/>`;
    const sees = seen(stage, size);
    if (!sees) return void (svg.innerHTML = cell);
    const [left, top, right, bottom] = sees, box = `M${left} ${top}V${bottom}H${right}V${top}Z`;
    svg.innerHTML = `<path d="M0 0H${size}V${size}H0Z${box}" fill="#000" fill-opacity=".45" fill-rule="evenodd"/>` +
      `<path d="${box}" fill="none" stroke="#10141a" stroke-width="4"/><path d="${box}" fill="none" stroke="${stage.color}" stroke-width="2.4"/>${cell}`;
  }

  function seen(stage, size) {
    if (!stage.field) return null;
    const [reach, jump, start] = stage.field, [row, column] = cellOf(stage);
    const span = (cell) => [Math.max(0, start + cell * jump), Math.min(size, start + cell * jump + reach)];
    const [[left, right], [top, bottom]] = [span(column), span(row)];
    return [left, top, right, bottom];
  }

  function sentence(panel, n) {
    const { size, stages } = data.panels[panel], stage = stages[n], tile = tileOf(panel, n), [row, column] = cellOf(stage);
    const value = valuesOf(tile)(row * stage.w + column), sees = seen(stage, size);
    const field = sees ? `It can see the lit ${sees[2] - sees[0]} × ${sees[3] - sees[1]} of ${size} × ${size} pixels.` : data.unknown;
    return `${stage.name}, channel ${tile.channel} of ${stage.channels}: ${short(value)} in row ${row + 1}, column ${column + 1} of ${stage.h} × ${stage.w} cells. ${field}`;
  }

  function move() {
    const places = root.querySelectorAll(".panel");
    places.forEach((place, panel) => {
      place.querySelectorAll(".row button").forEach((button, n) => {
        light(button.querySelector("svg"), panel, n);
        const stage = data.panels[panel].stages[n], [row, column] = cellOf(stage);
        button.querySelector(".value").textContent = short(valuesOf(tileOf(panel, n))(row * stage.w + column));
      });
      light(place.querySelector(".big svg"), panel, state.n);
      place.querySelector(".words").textContent = sentence(panel, state.n);
    });
  }

  const follow = (box) => (event) => {
    const { left, top, width, height } = box.getBoundingClientRect();
    state.at = [(event.clientX - left) / width, (event.clientY - top) / height];
    move();
  };

  function tell() {
    clearTimeout(state.timer);
    const { link, n, channels } = state, { name } = data.panels[0].stages[n], cell = cellOf(data.panels[0].stages[n]);
    state.timer = setTimeout(() => state.tell("chosen", { link, stage: name, channels: channels.map((each) => each[n]), cell }), 200);
  }

  function choose(n) { state.n = n; toPeak(0, n); lay(); tell(); }
  function pick(panel, channel) {
    state.channels[panel][state.n] = channel;
    if (tileOf(panel, state.n).channel === channel) { toPeak(panel, state.n); lay(); }
    else state.waiting = panel; // for the server to send it
    tell();
  }

  const canvasIn = (parent, label) => {
    const place = make(parent, "span", "picture"), canvas = make(place, "canvas");
    place.style.display = "block";
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", label);
    place.append(document.createElementNS("http://www.w3.org/2000/svg", "svg"));
    return place;
  };
  const framed = (place, size) => {
    place.querySelector("svg").setAttribute("viewBox", `0 0 ${size} ${size}`);
    place.querySelector("svg").setAttribute("aria-hidden", "true");
    return place.querySelector("canvas");
  };

  function rowOf(place, panel) {
    const { title, size, stages } = data.panels[panel], row = make(place, "div", "row");
    stages.forEach((stage, n) => {
      const tile = tileOf(panel, n), button = make(row, "button");
      button.type = "button";
      button.style.setProperty("--stage", stage.color);
      button.setAttribute("aria-pressed", n === state.n);
      const picture = canvasIn(button, `${data.title}, ${title}: ${stage.name}, channel ${tile.channel}`);
      paint(framed(picture, size), panel, n, tile);
      const name = make(button, "b");
      make(name, "i");
      name.append(stage.name);
      make(button, "small", "value");
      make(button, "small", "more", `channel ${tile.channel} · ${stage.h} × ${stage.w} cells · ${stage.sees}`);
      button.onpointermove = (event) => { if (event.pointerType === "mouse") follow(picture)(event); };
      button.onclick = () => choose(n);
    });
  }

  function lookOf(place, panel) {
    const { title, size, stages } = data.panels[panel], stage = stages[state.n], tile = tileOf(panel, state.n);
    const look = make(place, "div", "look"), big = make(look, "div", "big"), side = make(look, "div", "side");
    const picture = canvasIn(big, `${data.title}, ${title}: ${stage.name}, channel ${tile.channel}, enlarged`);
    paint(framed(picture, size), panel, state.n, tile);
    big.tabIndex = 0;
    big.setAttribute("role", "application");
    big.setAttribute("aria-label", `Cells of ${stage.name}. Arrow keys move to another cell.`);
    big.onpointermove = (event) => { if (event.pointerType === "mouse" || event.buttons) follow(picture)(event); };
    big.onpointerdown = (event) => { follow(picture)(event); tell(); };
    big.onkeydown = (event) => {
      const way = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!way && event.key !== "Home") return;
      event.preventDefault();
      const [row, column] = cellOf(stage), far = event.shiftKey ? 5 : 1;
      if (way) put(Math.min(stage.h - 1, Math.max(0, row + way[0] * far)), Math.min(stage.w - 1, Math.max(0, column + way[1] * far)), stage);
      else toPeak(panel, state.n);
      move();
      tell();
    };
    make(side, "p", "words").setAttribute("aria-live", "polite");
    const bar = make(side, "div", "bar"), low = Math.min(0, tile.least);
    bar.append(short(low));
    const ramp = Array.from({ length: 9 }, (_, k) => `rgb(${data.colors.slice(3 * Math.round(k * 255 / 8), 3 * Math.round(k * 255 / 8) + 3)})`);
    make(bar, "i").style.background = `linear-gradient(90deg, ${ramp})`;
    bar.append(short(tile.most));
    const label = make(side, "label", "any", "Channel "), number = make(label, "input");
    Object.assign(number, { type: "number", min: 0, max: stage.channels - 1, value: state.channels[panel][state.n] ?? tile.channel });
    number.onchange = () => {
      const asked = Math.round(Number(number.value));
      pick(panel, Math.min(stage.channels - 1, Math.max(0, Number.isFinite(asked) ? asked : 0)));
    };
    label.append(` of ${stage.channels}, counted from 0. The strongest here, ${data.order}:`);
    const tiles = make(side, "div", "tiles");
    stage.tiles.forEach((one) => {
      const button = make(tiles, "button");
      button.type = "button";
      button.setAttribute("aria-pressed", one.channel === tile.channel);
      paint(framed(canvasIn(button, `${stage.name}, channel ${one.channel}`), size), panel, state.n, one);
      make(button, "small", "", `${one.channel} · ${short(one.most)}`);
      button.onclick = () => pick(panel, one.channel);
    });
    make(side, "p", "keys", data.keys);
  }

  function lay() {
    const focused = root.querySelector(".big:focus") && [...root.querySelectorAll(".big")].indexOf(root.querySelector(".big:focus"));
    root.querySelector(".panels").replaceChildren();
    if (!state.at) toPeak(0, state.n);
    if (state.waiting !== undefined && data.panels[state.waiting]) toPeak(state.waiting, state.n);
    delete state.waiting;
    data.panels.forEach(({ title, color }, panel) => {
      const place = make(root.querySelector(".panels"), "section", "panel");
      if (data.panels.length > 1) make(place, "h4", "", title).style.borderColor = color;
      rowOf(place, panel);
      lookOf(place, panel);
    });
    move();
    if (focused !== null) root.querySelectorAll(".big")[focused]?.focus();
  }

  const before = state.images;
  state.images = {};
  for (const { image } of data.panels) {
    state.images[image] = before[image] ?? Object.assign(new Image(), { src: image });
    state.images[image].onload = lay;
  }
  lay();
}
