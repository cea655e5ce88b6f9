// A login always leads back to the first page. Before it, the address that was asked for is kept for this tab; after it,
// the tab goes there.
const KEPT = "pmsi-way-back";

export default function ({ data }) {
  if (data.waits) {
    sessionStorage.setItem(KEPT, location.href);
    return;
  }
  const wanted = sessionStorage.getItem(KEPT);
  sessionStorage.removeItem(KEPT);
  if (wanted && wanted !== location.href) location.replace(wanted);
}
