// The page Targets: puts the editor over the template, keeps what was edited, marks a fault, and says in a word what became of what was typed.
"use strict";

let editor = null, field = null, catalogues = "";

// What was edited stays with its platform and its notification as long as the tab is open: who looks at another one has lost nothing.
const kept = () => `template ${field.dataset.editor}`;

function begin() {
  const there = document.querySelector("textarea[data-editor]");
  if (!there || there.hidden) return;
  field = there;
  catalogues = field.value;
  field.value = sessionStorage.getItem(kept()) ?? catalogues;
  editor = TemplateEditor.over(field, document.getElementById("target").dataset.nonce);
  field.addEventListener("input", keep);
  document.getElementById("as-catalogue").addEventListener("click", () => {
    const { view } = editor;
    view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: catalogues } });
  });
  tell();
}

function keep() {
  if (field.value === catalogues) sessionStorage.removeItem(kept());
  else sessionStorage.setItem(kept(), field.value);
  tell();
}

function tell() {
  document.getElementById("edited").hidden = field.value === catalogues;
}

function mark() {
  const result = document.getElementById("result");
  if (!result || !editor) return;
  const { where, line, column, reason, said } = result.dataset;
  editor.mark(where === "template" ? Number(line) : 0, Number(column), reason);
  const status = document.getElementById("said");
  if (status.textContent !== said) status.textContent = said;
}

document.addEventListener("htmx:afterSwap", ({ detail }) => {
  begin();
  if (detail.target.id === "context-field") document.body.dispatchEvent(new Event("context-changed"));
  mark();
});
document.addEventListener("htmx:historyRestore", begin);
document.addEventListener("submit", (event) => event.preventDefault());
begin(); // before htmx looks at the page: the first trial is of what was edited
