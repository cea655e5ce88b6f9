// A picture on which rectangles are rubbed out, or copied to another place; the server makes the pixels.
export default function ({ data, parentElement: root, setStateValue }) {
  const frame = root.querySelector('.frame'), image = root.querySelector('img'), box = root.querySelector('.box');
  const tools = root.querySelector('.tools'), hint = root.querySelector('.hint');
  const state = root.patches ??= { edits: [], mode: 'rub', rect: [0.4, 0.4, 0.2, 0.2], held: false };
  if (state.of !== data.of) Object.assign(state, { of: data.of, edits: data.edits ?? [], held: false });
  image.src = data.src;
  image.alt = data.alt;
  frame.setAttribute('aria-label', data.alt);
  const words = {
    rub: 'Drag over what is to be rubbed out. Keys: arrows move the rectangle, + and − size it, Enter rubs out.',
    paste: 'Drag over what is to be copied, then click where it goes. Keys: Enter copies, arrows move, Enter pastes.',
  };
  const draw = () => {
    const [x, y, w, h] = state.rect;
    Object.assign(box.style, { left: `${x * 100}%`, top: `${y * 100}%`, width: `${w * 100}%`, height: `${h * 100}%` });
    hint.textContent = state.held ? 'Copied: click where it goes.' : words[state.mode];
  };
  const send = (edit) => {
    state.edits = edit ? [...state.edits, edit] : state.edits;
    state.held = false;
    setStateValue('edits', { of: state.of, list: state.edits });
    show();
  };
  const apply = () => {
    if (state.mode === 'rub') send({ box: state.rect });
    else if (!state.held) { state.held = [...state.rect]; draw(); }
    else send({ box: state.held, to: state.rect.slice(0, 2) });
  };
  const button = (text, act, pressed) => {
    const made = document.createElement('button');
    made.type = 'button';
    made.textContent = text;
    made.onclick = () => { act(); show(); };
    if (pressed !== undefined) made.setAttribute('aria-pressed', pressed);
    tools.append(made);
    return made;
  };
  const show = () => {
    tools.replaceChildren();
    button('Rub out', () => { state.mode = 'rub'; state.held = false; }, state.mode === 'rub');
    button('Copy and paste', () => { state.mode = 'paste'; state.held = false; }, state.mode === 'paste');
    button('Undo', () => { state.edits = state.edits.slice(0, -1); send(); }).disabled = !state.edits.length;
    button('As it was', () => { state.edits = []; send(); }).disabled = !state.edits.length;
    draw();
  };
  const at = (event) => {
    const place = frame.getBoundingClientRect();
    return [(event.clientX - place.left) / place.width, (event.clientY - place.top) / place.height]
      .map((share) => Math.min(1, Math.max(0, share)));
  };
  let from = null;
  frame.onpointerdown = (event) => {
    box.hidden = false;
    if (state.held) {
      const [x, y] = at(event), [, , w, h] = state.held;
      state.rect = [Math.max(0, x - w / 2), Math.max(0, y - h / 2), w, h];
      return apply();
    }
    from = at(event);
    frame.setPointerCapture(event.pointerId);
  };
  frame.onpointermove = (event) => {
    if (!from) return;
    const to = at(event);
    state.rect = [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1])];
    draw();
  };
  frame.onpointerup = () => {
    if (from && state.rect[2] > 0.01 && state.rect[3] > 0.01) apply();
    from = null;
  };
  frame.onkeydown = (event) => {
    const step = 0.02, [x, y, w, h] = state.rect;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const [dx, dy] = moves[event.key] ?? [0, 0];
    const grow = { '+': 1.25, '-': 0.8 }[event.key] ?? 1;
    if (!dx && !dy && grow === 1 && event.key !== 'Enter') return;
    event.preventDefault();
    box.hidden = false;
    if (event.key === 'Enter') return apply();
    const size = [w * grow, h * grow].map((side) => Math.min(0.9, Math.max(0.03, side)));
    state.rect = [Math.min(1 - size[0], Math.max(0, x + dx)), Math.min(1 - size[1], Math.max(0, y + dy)), ...size];
    draw();
  };
  show();
}
