// A link to a run opens what holds it, also where the browser does not do so by itself.
function open(link) {
  const target = document.getElementById(link.slice(1));
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  if (target) target.scrollIntoView();
}
addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  if (link) setTimeout(open, 0, link.hash);
});
if (location.hash) open(location.hash);
