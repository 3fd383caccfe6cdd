"use strict";
for (const button of document.querySelectorAll("button[data-copies]")) {
  const lines = document.getElementById(button.dataset.copies);
  const status = button.parentElement.querySelector("[role=status]");
  const selected = () => {
    const range = document.createRange();
    range.selectNodeContents(lines);
    const selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    return document.execCommand("copy");
  };
  button.addEventListener("click", async () => {
    let copied = true;
    try {
      await navigator.clipboard.writeText(lines.textContent);
    } catch {
      copied = selected();
    }
    status.textContent = copied ? "Copied." : "Selected: press Ctrl+C.";
  });
}
// Paper cannot be unfolded: what is folded away is printed, but for the long tables.
let unfolded = [];
window.addEventListener("beforeprint", () => {
  unfolded = [...document.querySelectorAll("details.group:not([open]), details.shown:not([open])")];
  for (const group of unfolded) group.open = true;
});
window.addEventListener("afterprint", () => {
  for (const group of unfolded) group.open = false;
});
