// A player inside a page, without a kernel: its data stands beside it, and it takes the place of a still picture.

import { openAtlas, player, root } from "./core.js";

export async function start(place, css) {
  const spec = JSON.parse(place.querySelector('script[type="application/json"]').textContent);
  const atlases = await Promise.all(spec.atlases.map(openAtlas));
  if (place.querySelector(".minidiff")) return; // this output was shown again
  player(root(place, spec.label, css), spec, atlases);
  for (const still of place.querySelectorAll(":scope > img, :scope > p")) still.style.display = "none";
}
