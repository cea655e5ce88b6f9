// What a layout does to the cells of an image, and how it is marked: for the parts that draw mosaics.

// A layout has one number for each recursion: 4 × (its order's place in `orders`) + the place that is cut next.
// `block` is [x, y, side] in fractions of the image; place `to` gets what was at place order[to].
function recursionsOf(layout, orders) {
  let [x, y, side] = [0, 0, 1];
  return layout.map((number) => {
    const recursion = { order: orders[number >> 2], block: [x, y, side] }, pick = number & 3;
    side /= 2;
    [x, y] = [x + side * (pick % 2), y + side * (pick >> 1)];
    return recursion;
  });
}

// sources[k][cell] is the cell of the image that is seen at `cell` after k recursions. Cells are those of the finest
// grid, 2^r a side, numbered in reading order.
function sourcesOf(recursions) {
  const grid = 2 ** recursions.length, sources = [Array.from({ length: grid * grid }, (_, cell) => cell)];
  for (const { order, block } of recursions) {
    const [left, top, side] = block.map((part) => part * grid), half = side / 2;
    const before = sources[sources.length - 1], after = [...before];
    const cell = (place, x, y) => (top + (place >> 1) * half + y) * grid + left + (place % 2) * half + x;
    order.forEach((from, to) => {
      for (let y = 0; y < half; y++) for (let x = 0; x < half; x++) after[cell(to, x, y)] = before[cell(from, x, y)];
    });
    sources.push(after);
  }
  return sources;
}

function cross({ block: [x, y, side] }, color) {
  const h = side / 2, path = `M${x + h} ${y}V${y + side}M${x} ${y + h}H${x + side}`;
  return `<path d="${path}" stroke="#10141a" stroke-width="4.5"/>` +
    `<path d="${path}" stroke="${color}" stroke-width="2.5"/>`;
}

function frame({ block: [x, y, side] }, color) {
  const inner = `M${x} ${y}v${side}h${side}v${-side}z`;
  return `<path class="shade" fill-rule="evenodd" d="M0 0H1V1H0z${inner}"/>` +
    `<path d="${inner}" stroke="${color}" stroke-width="5"/>`;
}

// The borders of the first `done` recursions, and a frame around the block that recursion `framed` cuts, if any.
function marks(recursions, colors, done, framed = null) {
  const crosses = recursions.slice(0, done).map((one, k) => cross(one, colors[k]));
  return crosses.join("") + (framed === null ? "" : frame(recursions[framed], colors[framed]));
}
