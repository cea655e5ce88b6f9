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
  const root = parentElement.querySelector('.scroll');
  const left = root.scrollLeft;
  root.replaceChildren();
  const grid = add(root, 'div', 'grid');
  const stages = data.stages.length;
  const narrow = window.matchMedia('(max-width: 640px)').matches;
  const least = narrow ? '8.2rem' : data.runs.length > 1 ? '7rem' : '9rem';
  const block = `repeat(${stages}, minmax(${least}, 1fr))`;
  grid.style.gridTemplateColumns =
    `minmax(${narrow ? '6.6rem' : least}, 1fr) ${data.runs.map(() => block).join(' .25rem ')}`;
  const apart = (i) => i && add(grid, 'div');
  add(grid, 'div', 'first');
  data.runs.forEach((run, i) => {
    apart(i);
    const head = add(grid, 'div', 'run', run.title);
    head.style.gridColumn = `span ${stages}`;
    head.style.borderColor = run.color;
  });
  add(grid, 'div', 'first', 'Image');
  data.runs.forEach((_, i) => {
    apart(i);
    for (const stage of data.stages) {
      const head = add(grid, 'div', 'stage');
      add(head, 'i').style.background = stage.color;
      add(head, 'span', '', stage.name);
    }
  });
  for (const row of data.rows) {
    picture(add(grid, 'div', 'first'), row.image);
    row.sights.forEach((sight, i) => {
      apart(i);
      for (const cell of sight.cells) {
        const figure = add(grid, 'figure');
        const button = add(figure, 'button');
        button.type = 'button';
        button.title = 'Enlarge, with its numbers';
        picture(button, cell.image);
        button.onclick = () => setTriggerValue('opened', cell.id);
        add(figure, 'div', 'note', cell.note);
        if (cell.mosaic) {
          picture(add(figure, 'div', 'mosaic'), cell.mosaic);
          add(figure, 'div', 'note', cell.mosaic.note);
        } else if (cell.without) add(figure, 'div', 'note', cell.without);
      }
    });
    add(grid, 'div', 'first verdict', row.title);
    row.sights.forEach((sight, i) => {
      apart(i);
      const words = add(grid, 'div', 'verdict', sight.verdict);
      words.style.gridColumn = `span ${stages}`;
    });
  }
  root.scrollLeft = left;
}
