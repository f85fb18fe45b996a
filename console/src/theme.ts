/** Dark or light: what the system says, unless this person has chosen. The choice is kept in this browser; nothing else is. */

export const themes = ["auto", "light", "dark"] as const;
export type Theme = (typeof themes)[number];

const place = "sealmesh-theme";

export function chosenTheme(): Theme {
  const kept = localStorage.getItem(place);
  return themes.find((theme) => theme === kept) ?? "auto";
}

/** Shows and keeps it. */
export function setTheme(theme: Theme): void {
  if (theme === "auto") localStorage.removeItem(place);
  else localStorage.setItem(place, theme);
  document.documentElement.dataset["theme"] = theme;
}
