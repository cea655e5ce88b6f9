// Runs in any browser, before the module, which old ones do not even parse.
if (!("DecompressionStream" in window && "WebAssembly" in window && "noModule" in document.createElement("script"))) {
  document.getElementById("status").textContent = "This browser is too old for this page: a newer one of any kind will do.";
  document.getElementById("status").className = "problem";
  document.body.className = "unusable";
}
