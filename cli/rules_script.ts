/**
 * Rules, routes and settings as a shell script that stands alone, for people to read or to run.
 *
 * It may be run again: what is in place is replaced. What a setting was before is noted beside the rules in the
 * kernel, as our own commands do it, so that it outlives the shell, and `rules cleanup` knows it too.
 *
 * @module
 */
import {
  type Backend,
  type BackendName,
  type OldSysctl,
  type Plan,
  renderRoutes,
  shellLine,
} from "../nft/mod.ts";
import { CHAIN_PATTERN } from "../nft/own_marks.ts";

/** Stands for the value of setting `i` before it was ours, which only the shell that runs the script will know. */
const oldValue = (i: number) => `@old${i}@`;

/** What the backend of a script is to note beside its rules. */
export function notedByScript({ sysctls }: Plan): OldSysctl[] {
  return sysctls.map(({ key }, i) => ({ key, value: oldValue(i) }));
}

/**
 * A script that puts the plan in place, and takes it away again when its argument is `undo`. What it puts there stays
 * until then, whatever becomes of the proxy.
 *
 * @param backend notes {@linkcode notedByScript}.
 */
export function renderScript(plan: Plan, backend: Backend): string {
  const routes = renderRoutes(plan);
  return [
    "#!/bin/sh",
    `# Rules by ${backend.name}, for a \`run --rules none\` with the same flags.`,
    "#   sh THIS_FILE        puts them in place",
    "#   sh THIS_FILE undo   takes them away again",
    "",
    "# Rules of ours by each tool.",
    ...[...LISTINGS].map(([name, listing]) => `${functionOf(name)}() { ${listing(plan.intent.tableName)}; }`),
    "require_free() {",
    ...[...LISTINGS.keys()].filter((name) => name !== backend.name).map((name) =>
      `[ -z "$(${
        functionOf(name)
      })" ] || { echo "rules by ${name} are in place: undo those first" >&2; return 1; }`
    ),
    `for pid in $(${functionOf(backend.name)} | ` +
    `sed -nE 's#.*(intercept|drain|claimed) [^ ]+( closed)? by ([0-9]+)/.*#\\3#p' | sort -u); do`,
    '[ ! -e "/proc/$pid" ] || { echo "process $pid has rules in place: stop it first" >&2; return 1; }',
    "done",
    ...foreignLines(backend.name, plan.intent.tableName),
    "}",
    ...plan.sysctls.map(({ key }, i) =>
      `noted${i}() { ${
        functionOf(backend.name)
      } | sed -n 's|.*[ "]${key}=\\([^ "]*\\).*|\\1|p' | head -n 1; }`
    ),
    "",
    "remove() (",
    backend.removeScript(),
    ")",
    "",
    "apply() {",
    "require_free",
    ...section("Settings of the kernel.", settingsLines(plan)),
    ...section(
      "Routes: marked packets are delivered to this host.",
      routes.flatMap(({ argv, undo }) =>
        argv[2] === "rule"
          // There is no `ip rule replace`.
          ? [`${shellLine(undo)} 2>/dev/null || :`, shellLine(argv)]
          : [shellLine(argv.with(3, "replace"))]
      ),
    ),
    ...section("Rules; each says why it is there.", plan.chains.length === 0 ? [] : ruleLines(plan, backend)),
    "}",
    "",
    "undo() {",
    "require_free || return 1",
    ...plan.sysctls.map((_, i) => `old${i}=$(noted${i})`),
    ...section("Rules first: without them nothing is marked any more.", [
      'remove || { echo "the rules are not this script\'s, or cannot be removed" >&2; return 1; }',
    ]),
    ...section("Routes.", routes.toReversed().map((route) => shellLine(route.undo))),
    ...plan.sysctls.map(({ key }, i) =>
      `[ -z "$old${i}" ] || echo "$old${i}" >${shellLine([`/proc/sys/${key}`])}`
    ),
    "}",
    "",
    'case ${1-apply} in apply) set -e; apply ;; undo) undo ;; *) echo "apply or undo wanted" >&2; exit 2 ;; esac',
  ].join("\n");
}

/** The `ip` commands alone. */
export function renderRouteText(plan: Plan): string {
  return renderRoutes(plan).map(({ argv }) => shellLine(argv)).join("\n");
}

/** What of ours each tool lists; nothing where there is no such tool. */
const LISTINGS: ReadonlyMap<BackendName, (tableName: string) => string> = new Map([
  [
    "nft",
    (name) => `table=$(${nftTable(name)}); case $table in *'comment "pellucid:'*) echo "$table" ;; esac`,
  ],
  ["iptables", (name) => `${saveBoth("iptables")} | sed -n '/--comment "pellucid: .* -j ${name}_/p'`],
  [
    "iptables-legacy",
    (name) => `${saveBoth("iptables-legacy")} | sed -n '/--comment "pellucid: .* -j ${name}_/p'`,
  ],
]);

function nftTable(name: string): string {
  return `nft -t list ruleset inet 2>/dev/null | sed -n '/^table inet ${name} {/,/^}/p'`;
}

function saveBoth(name: BackendName): string {
  const flavour = name === "iptables" ? "nft" : "legacy";
  return `{ iptables-${flavour}-save; ip6tables-${flavour}-save; } 2>/dev/null`;
}

/** Refuses what has our name and is somebody else's, as the backends do: to load ours would take it away. */
function foreignLines(name: BackendName, tableName: string): string[] {
  const refuse = (what: string) =>
    `{ echo '${what} not ours, and in the way: rename or delete first' >&2; return 1; }`;
  const oursAreThere = `[ -n "$(${functionOf(name)})" ]`;
  if (name === "nft") {
    return [
      `${oursAreThere} || [ -z "$(${nftTable(tableName)})" ] || ${refuse(`table inet ${tableName} is`)}`,
    ];
  }
  // Each of our rules says `ID: WHY`.
  const others = `${saveBoth(name)} | grep -E '^-A ${tableName}_${CHAIN_PATTERN} ' | ` +
    `grep -qvE -e '--comment "[A-Za-z0-9_-]+: [^ ]'`;
  return [`${oursAreThere} || ! ${others} || ${refuse(`chains ${tableName}_* are`)}`];
}

function functionOf(name: BackendName): string {
  return `rules_by_${name.replace("-", "_")}`;
}

function ruleLines(plan: Plan, backend: Backend): string[] {
  const commands = backend.commands(plan, "intercept");
  const notes = plan.sysctls.map((_, i) => `s|${oldValue(i)}|$old${i}|`).join(";");
  const lines = commands.map(({ argv, stdin }) => ({
    // A set's name tells its content: one that is left from before is as good.
    argv: argv[0] === "ipset" ? ["ipset", "-exist", ...argv.slice(1)] : argv,
    stdin,
  })).flatMap(({ argv, stdin }) => [
    notes === "" ? `${shellLine(argv)} <<'END'` : `sed "${notes}" <<'END' | ${shellLine(argv)}`,
    stdin.trimEnd(),
    "END",
  ]);
  // nft's input replaces a table in one step.
  if (backend.name === "nft") return lines;
  const hashes = new Set(
    commands.flatMap(({ stdin }) =>
      [...stdin.matchAll(/pellucid: (intercept \w+)/g)].map(([, state]) => state!)
    ),
  );
  const inPlace = [...hashes].map((state) => `case $state in *"${state}"*) ;; *) same=no ;; esac`);
  return [
    `same=yes; state=$(${functionOf(backend.name)})`,
    ...inPlace,
    "# The same ones stay; others go first, or their jumps would stay beside the new ones.",
    'if [ "$same" = no ]; then',
    '[ -z "$state" ] || remove',
    ...lines,
    "fi",
  ];
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [":"] : [`# ${title}`, ...lines];
}

/** Where the rules cannot be loaded, nobody would know any more what was to be put back. */
function settingsLines({ sysctls }: Plan): string[] {
  if (sysctls.length === 0) return [];
  const paths = sysctls.map(({ key }) => shellLine([`/proc/sys/${key}`]));
  return [
    ...paths.map((path, i) => `was${i}=$(cat ${path}); old${i}=$(noted${i}); old${i}=\${old${i}:-$was${i}}`),
    `put_back() { ${paths.map((path, i) => `echo "$was${i}" >${path}`).join("; ")}; }`,
    `trap '[ "$?" = 0 ] || put_back' EXIT`,
    ...sysctls.flatMap(({ value, why }, i) => [`# ${why}`, `echo ${shellLine([value])} >${paths[i]}`]),
  ];
}
