// Titles of tests, read from the source text: what check-claims.mjs and errors-page.mjs go by.
export function titleNames(text, id) {
  return [...text.matchAll(/\b(?:it|test|describe)(?:\.each\([^)]*\))?\(\s*(["'`])(.*?)\1/gs)].some(([, , title]) =>
    new RegExp(`\\b${id}\\b`).test(title),
  );
}
