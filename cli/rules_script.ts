/**
 * Rules and routes as a shell script, for people to read or to run.
 *
 * @module
 */
import { type Hold, renderNft } from "../nft/render_nft.ts";
import { renderRoutes } from "../nft/render_route.ts";
import type { Plan } from "../nft/plan.ts";

/**
 * The plan as a script with what undoes it as comments.
 *
 * @param hold `owner` shows what `run` does by itself; a script's own `nft` ends at once, so one that is to be
 * run needs `plain`.
 */
export function renderScript(plan: Plan, hold: Hold): string {
  const routes = renderRoutes(plan);
  const undo = [
    `nft delete table inet ${plan.intent.tableName}`,
    ...routes.toReversed().map((route) => shellLine(route.undo)),
  ];
  return [
    "set -e",
    "",
    ...(routes.length === 0 ? [] : ["# Routes: marked packets are delivered to this host."]),
    ...routes.map((route) => shellLine(route.argv)),
    ...(routes.length === 0 ? [] : [""]),
    hold === "owner"
      ? "# Rules. `run` feeds them to an nft that lives as long as it does: they vanish with it."
      : "# Rules.",
    "nft -f - <<'END'",
    renderNft(plan, "intercept", hold).trimEnd(),
    "END",
    "",
    hold === "owner" ? "# When it ends, `run` undoes all of it:" : "# To undo all of it:",
    ...undo.map((line) => `#   ${line}`),
  ].join("\n");
}

/** A command as a shell reads it: an interface's name may be `$(reboot)`. */
function shellLine(argv: readonly string[]): string {
  return argv.map(shellWord).join(" ");
}

function shellWord(word: string): string {
  return /^[A-Za-z0-9_./:@%+=,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
