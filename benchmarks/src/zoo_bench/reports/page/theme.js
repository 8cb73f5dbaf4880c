"use strict";
// Light and dark: as the system has it until somebody presses the button, which is remembered.
(() => {
  const themeButton = document.getElementById("theme");
  const stored = (value) => {
    try {
      if (value) localStorage.setItem("zoo-theme", value);
      return localStorage.getItem("zoo-theme");
    } catch {
      return null; // a file: page without storage still has a button
    }
  };
  function setTheme(theme) {
    document.documentElement.style.colorScheme = theme;
    themeButton.setAttribute("aria-pressed", String(theme === "dark"));
  }
  const preferred = () => (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  setTheme(stored() === "dark" || stored() === "light" ? stored() : preferred());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => stored() || setTheme(preferred()));
  themeButton.addEventListener("click", () => {
    const theme = themeButton.getAttribute("aria-pressed") === "true" ? "light" : "dark";
    setTheme(theme);
    stored(theme);
  });
})();
