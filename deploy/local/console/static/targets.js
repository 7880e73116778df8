// The page Targets: puts the editor over the template, marks a fault in it, and says in a word what became of what was typed.
"use strict";

let editor = null;

function begin() {
  const field = document.querySelector("textarea[data-editor]");
  if (!field || field.hidden) return;
  editor = TemplateEditor.over(field, document.getElementById("target").dataset.nonce);
}

function mark() {
  const result = document.getElementById("result");
  if (!result || !editor) return;
  const { where, line, column, reason, said } = result.dataset;
  editor.mark(where === "template" ? Number(line) : 0, Number(column), reason);
  const status = document.getElementById("said");
  if (status.textContent !== said) status.textContent = said;
}

document.addEventListener("DOMContentLoaded", begin);
document.addEventListener("htmx:afterSwap", ({ detail }) => {
  begin();
  if (detail.target.id === "context-field") document.body.dispatchEvent(new Event("context-changed"));
  mark();
});
document.addEventListener("htmx:historyRestore", begin);
document.addEventListener("submit", (event) => event.preventDefault());
