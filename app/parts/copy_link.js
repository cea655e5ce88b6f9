// A button that copies the page's address, which has all that is chosen in it.
export default function ({ parentElement: root }) {
  const button = root.querySelector("button"), words = button.querySelector("span"), before = words.textContent;
  button.onclick = async () => {
    words.textContent = (await copied(location.href)) ? "Copied" : location.href;
    setTimeout(() => { words.textContent = before; }, 2000);
  };
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text); // on this machine, or by https
    return true;
  } catch {
    const field = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}
