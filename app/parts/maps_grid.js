export default function({ data, parentElement, setTriggerValue }) {
  const add = (parent, tag, name, text) => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text) element.textContent = text;
    parent.append(element);
    return element;
  };
  const picture = (parent, { src, alt }) => {
    const image = add(parent, 'img');
    image.src = src; image.alt = alt; image.loading = 'lazy';
    return image;
  };
  const several = data.runs.length > 1;
  // Values come as shares of the map's peak in 255 steps, row by row.
  const read = ({ levels, shape, peak }, button, event) => {
    const box = button.getBoundingClientRect(), [rows, columns] = shape;
    const at = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
    const row = at((event.clientY - box.top) / box.height, rows);
    const column = at((event.clientX - box.left) / box.width, columns);
    const value = levels.charCodeAt(row * columns + column) / 255 * peak;
    return `${Number(value.toPrecision(3))} at row ${row + 1} of ${rows}, column ${column + 1} of ${columns}`;
  };
  const map = (parent, cell, { name, color }) => {
    const figure = add(parent, 'figure'), button = add(figure, 'button');
    button.type = 'button';
    picture(button, cell.image);
    button.onclick = () => setTriggerValue('opened', cell.id);
    const caption = add(figure, 'figcaption');
    add(caption, 'i').style.background = color;
    add(caption, 'b', '', `${name} `);
    const note = add(caption, 'span', '', cell.note), values = { ...cell.values, levels: atob(cell.values.levels) };
    button.onpointermove = (event) => { note.textContent = read(values, button, event); };
    button.onpointerleave = () => { note.textContent = cell.note; };
    if (cell.mosaic) {
      picture(add(figure, 'div', 'mosaic'), cell.mosaic);
      add(figure, 'figcaption', '', cell.mosaic.note);
    } else if (cell.without) add(figure, 'figcaption', '', cell.without);
  };
  const root = parentElement.querySelector('.rows'), left = root.scrollLeft;
  root.replaceChildren();
  const stages = data.stages.length;
  root.style.setProperty('--stages', stages);
  root.style.setProperty(
    '--columns', `minmax(7rem, 1fr) repeat(${data.runs.length}, minmax(${7 * stages}rem, ${stages}fr))`);
  for (const row of data.rows) {
    const line = add(root, 'div', 'row'), seen = add(line, 'div', 'seen');
    if (several) add(seen, 'div', 'run', '·');
    picture(seen, row.image);
    add(seen, 'figcaption', '', row.title);
    row.sights.forEach((sight, i) => {
      const place = add(line, 'div', 'sight');
      if (several) {
        const head = add(place, 'div', 'run', data.runs[i].title);
        head.style.borderColor = data.runs[i].color;
        head.title = data.runs[i].title;
      }
      const maps = add(place, 'div', 'maps');
      sight.cells.forEach((cell, k) => map(maps, cell, data.stages[k]));
      add(place, 'div', 'verdict', sight.verdict);
    });
  }
  root.scrollLeft = left;
}
