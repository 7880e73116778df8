// Faults: says in words what the chosen fault does, and offers the calls of the chosen side alone.
"use strict";

const side = document.getElementById("side");
const calls = document.getElementById("calls");
const fault = document.getElementById("fault");
const means = document.getElementById("means");
const mended = document.querySelector("input[name=until][value=mended]");

function choose() {
  for (const option of calls.options) {
    const there = option.dataset.sides.split(" ").includes(side.value);
    option.hidden = option.disabled = !there;
  }
  if (calls.selectedOptions[0].disabled) calls.selectedIndex = 0;
  // A field that is not shown is not asked for.
  document.getElementById("status").disabled = fault.value !== "status";
  document.getElementById("seconds").disabled = fault.value !== "slow";
  document.getElementById("count").disabled = mended.checked;
  const words = fault.selectedOptions[0].dataset.means;
  means.textContent = `${words[0].toUpperCase()}${words.slice(1)}.`;
}
for (const field of document.querySelectorAll(".break select, .break input[type=radio]")) {
  field.addEventListener("change", choose);
}
choose();
