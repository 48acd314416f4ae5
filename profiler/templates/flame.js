const field = document.querySelector("input");
const reset = search_prompt;
search_prompt = () => field.select();
history.replaceState = () => {};
field.addEventListener("input", () => {
  if (searching) reset();
  let wrong = "";
  try {
    if (field.value) search(field.value);
  } catch {
    wrong = "This is no regular expression.";
  }
  field.setCustomValidity(wrong);
});
// A frame that is not shown has no width, and inferno draws by the width.
addEventListener("resize", (event) => innerWidth || event.stopImmediatePropagation());
new ResizeObserver((_, observer) => {
  if (!innerWidth) return;
  observer.disconnect();
  init();
  scrollTo(0, document.body.scrollHeight);
}).observe(document.documentElement);
