/**
 * Rules, routes and settings as a shell script that stands alone, for people to read or to run.
 *
 * @module
 */
import { type Backend, type Plan, renderRoutes, shellLine } from "../nft/mod.ts";

/**
 * A script that puts the plan in place, and takes it away again when its argument is `undo`. What it puts there stays
 * until then, whatever becomes of the proxy.
 */
export function renderScript(plan: Plan, backend: Backend): string {
  const routes = renderRoutes(plan);
  return [
    "#!/bin/sh",
    `# Rules by ${backend.name}, for a \`run --rules none\` with the same flags.`,
    "#   sh THIS_FILE        puts them in place",
    "#   sh THIS_FILE undo   takes them away again",
    "",
    "apply() {",
    ...section("Settings of the kernel.", plan.sysctls.flatMap(settingLines)),
    ...section(
      "Routes: marked packets are delivered to this host.",
      routes.map(({ argv }) => shellLine(argv)),
    ),
    ...section("Rules; each says why it is there.", plan.chains.length === 0 ? [] : ruleLines(plan, backend)),
    "}",
    "",
    "undo() {",
    ...section("Rules first: without them nothing is marked any more.", [backend.removeScript()]),
    ...section("Routes.", routes.toReversed().map((route) => shellLine(route.undo))),
    ...plan.sysctls.map(({ key }) => `echo ${key}: left as it is >&2`),
    "}",
    "",
    'case ${1-apply} in apply) set -e; apply ;; undo) undo ;; *) echo "apply or undo wanted" >&2; exit 2 ;; esac',
  ].join("\n");
}

/** The `ip` commands alone. */
export function renderRouteText(plan: Plan): string {
  return renderRoutes(plan).map(({ argv }) => shellLine(argv)).join("\n");
}

function ruleLines(plan: Plan, backend: Backend): string[] {
  return backend.commands(plan, "intercept").flatMap(({ argv, stdin }) => [
    `${shellLine(argv)} <<'END'`,
    stdin.trimEnd(),
    "END",
  ]);
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [":"] : [`# ${title}`, ...lines];
}

function settingLines({ key, value, why }: Plan["sysctls"][number]): string[] {
  return [`# ${why}`, `echo ${shellLine([value])} >${shellLine([`/proc/sys/${key}`])}`];
}
