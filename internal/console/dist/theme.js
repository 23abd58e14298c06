// Before anything is painted: the theme that was chosen last, else the system's.
(() => {
  let kept = null;
  try { kept = localStorage.getItem('theme'); } catch { /* not allowed: the system's */ }
  if (kept === 'dark' || kept === 'light') document.documentElement.dataset.theme = kept;
})();
