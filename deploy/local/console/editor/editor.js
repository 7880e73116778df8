// The editor of a template: a textarea becomes CodeMirror, which writes back into it what is typed. `make editor` bundles it.
//
// Tab leaves the editor, as in every field: nobody is caught in it who has a keyboard alone.
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { bracketMatching, HighlightStyle, StreamLanguage, syntaxHighlighting } from "@codemirror/language";
import { jinja2 } from "@codemirror/legacy-modes/mode/jinja2";
import { setDiagnostics } from "@codemirror/lint";
import { EditorState, StateEffect, StateField } from "@codemirror/state";
import { Decoration, EditorView, highlightSpecialChars, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";

const markLine = StateEffect.define();
const markedLine = StateField.define({
  create: () => Decoration.none,
  update(marks, transaction) {
    for (const effect of transaction.effects) {
      if (effect.is(markLine)) {
        return effect.value === null ? Decoration.none : Decoration.set([wrongLine.range(effect.value)]);
      }
    }
    return marks.map(transaction.changes);
  },
  provide: (field) => EditorView.decorations.from(field),
});
const wrongLine = Decoration.line({ class: "wrong-line" });

// Colours are the page's: each is a variable of its style sheet, one for each scheme.
const colours = HighlightStyle.define([
  { tag: tags.comment, color: "var(--soft)", fontStyle: "italic" },
  { tag: tags.keyword, color: "var(--accent)", fontWeight: "600" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--good)" },
  { tag: [tags.number, tags.atom, tags.bool], color: "var(--warn)" },
  { tag: [tags.variableName, tags.propertyName], color: "var(--text)" },
]);
const looks = EditorView.theme({
  "&": { fontSize: ".85rem", backgroundColor: "var(--card)", color: "var(--text)" },
  "&.cm-focused": { outline: "2px solid var(--accent)", outlineOffset: "1px" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.55", overflow: "auto" },
  ".cm-content": { caretColor: "var(--text)", paddingBlock: ".4rem" },
  "&.cm-focused .cm-cursor": { borderLeftColor: "var(--text)" },
  ".cm-gutters": { backgroundColor: "var(--sunk)", color: "var(--soft)", borderRight: "1px solid var(--line)" },
  ".cm-line.wrong-line": { backgroundColor: "var(--bad-soft)" },
  ".cm-selectionBackground, &.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground": {
    backgroundColor: "var(--accent-soft)",
  },
  ".cm-matchingBracket, &.cm-focused .cm-matchingBracket": { backgroundColor: "transparent" },
  "&.cm-focused .cm-matchingBracket": { outline: "1px solid var(--strong-line)" },
});

// What is typed goes straight into the document: Chromium's own way gives it the style of what it replaces, which the page's policy forbids.
const typed = EditorView.domEventHandlers({
  beforeinput(event, view) {
    if (event.inputType !== "insertText" || event.data === null || event.isComposing || view.composing) return false;
    const { from, to } = selected(view);
    const insert = view.state.toText(event.data);
    const selection = { anchor: from + insert.length };
    view.dispatch({ changes: { from, to, insert }, selection, userEvent: "input.type", scrollIntoView: true });
    event.preventDefault();
    return true;
  },
});

// What the browser has selected now, of which the editor may not have heard yet. Only what is in view can be selected there.
function selected(view) {
  const { anchorNode, anchorOffset, focusNode, focusOffset } = document.getSelection();
  const { main } = view.state.selection;
  if (!view.contentDOM.contains(anchorNode) || !view.contentDOM.contains(focusNode)) return main;
  const ends = [view.posAtDOM(anchorNode, anchorOffset), view.posAtDOM(focusNode, focusOffset)];
  const [from, to] = [Math.min(...ends), Math.max(...ends)];
  if (from <= view.viewport.from && to >= view.viewport.to) return { from: 0, to: view.state.doc.length };
  return main.from < view.viewport.from || main.to > view.viewport.to ? main : { from, to };
}

/** Put an editor in place of the textarea, which stays the field of its form. Its label becomes the editor's name. */
function over(field, nonce) {
  const label = field.labels[0];
  label.id ||= `${field.id}-label`;
  const view = new EditorView({
    state: EditorState.create({
      doc: field.value,
      extensions: [
        lineNumbers(),
        highlightSpecialChars(),
        history(),
        bracketMatching(),
        StreamLanguage.define(jinja2),
        syntaxHighlighting(colours),
        looks,
        markedLine,
        typed,
        EditorView.lineWrapping,
        EditorView.cspNonce.of(nonce),
        EditorView.contentAttributes.of({
          tabindex: "0",
          "aria-labelledby": label.id,
          "aria-describedby": field.getAttribute("aria-describedby") || "",
        }),
        keymap.of([...defaultKeymap, ...historyKeymap]),
        EditorView.updateListener.of((update) => {
          if (!update.docChanged) return;
          field.value = update.state.doc.toString();
          field.dispatchEvent(new Event("input", { bubbles: true }));
        }),
      ],
    }),
  });
  label.removeAttribute("for"); // one thing on the page has this name
  label.addEventListener("click", () => view.focus());
  field.hidden = true;
  field.after(view.dom);
  return {
    view,
    /** Mark the place of a fault, both counted from 1; without a line no place is marked. */
    mark(line, column, reason) {
      const { doc } = view.state;
      if (!line || line > doc.lines) {
        view.dispatch(setDiagnostics(view.state, []));
        view.dispatch({ effects: markLine.of(null) });
        return;
      }
      const at = doc.line(line);
      const from = Math.min(at.from + Math.max(column, 1) - 1, at.to);
      const to = Math.max(from, Math.min(from + 1, at.to));
      view.dispatch(setDiagnostics(view.state, [{ from, to, severity: "error", message: reason }]));
      view.dispatch({ effects: markLine.of(at.from) });
    },
  };
}

globalThis.TemplateEditor = { over };
