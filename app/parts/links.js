// A link with data-go="n" clicks the n-th of Streamlit's own links in data.links: the page changes within the session,
// which keeps an upload. With a key held down, or the middle button, the browser opens its address elsewhere.
export default function ({ data }) {
  const follow = (event) => {
    const link = event.target.closest?.("a[data-go]");
    if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const own = document.querySelectorAll(`${data.links} a`)[Number(link.dataset.go)];
    if (!own) return;
    event.preventDefault();
    own.click();
  };
  document.addEventListener("click", follow, true);
  return () => document.removeEventListener("click", follow, true);
}
