/**
 * What the kernel and the tools can do, by trying it: real rules, sets and routes in a network namespace that is made
 * for it and gone afterwards. Versions and lists of modules say less, since what a rule needs may be a module, an
 * option of the kernel's build or of the tool's.
 *
 * @module
 */
import { COMMAND_MISSING } from "../nft/exec.ts";
import type { Host } from "./host.ts";
import { PROBES } from "./probes.ts";

/** What became of the probes: what was said against each, or null where it worked. */
export type ProbeResults = ReadonlyMap<string, string | null>;

/** In all; what has not been tried by then has failed. */
const TIME_LIMIT_MS = 30_000;
const READY = "@ready";

/** Tries everything; an empty map says that no scratch namespace can be made here. */
export async function runProbes(host: Host): Promise<ProbeResults> {
  const script = renderProbeScript();
  // With privilege no user namespace is needed, which not every host allows; without it there is no other way.
  for (const options of ["-nm", "-Urnm"]) {
    const { code, stdout } = await host.run(["unshare", options, "sh", "-c", script], TIME_LIMIT_MS);
    if (code === COMMAND_MISSING) break;
    if (stdout.startsWith(READY)) return parseProbeOutput(stdout);
  }
  return new Map();
}

function renderProbeScript(): string {
  return [
    // A /run of its own, for the lock file of iptables-legacy. Nothing that is mounted here is seen outside; but
    // without -n mount(8) itself makes a folder in the host's /run.
    "mount -n -t tmpfs tmpfs /run || exit 1",
    "ip link set lo up || exit 1",
    `echo ${READY}`,
    ...PROBES.map(({ id, script }) =>
      `said=$( ( ${script}\n ) 2>&1 ); echo "@${id} $?"; printf '%s\\n' "$said"`
    ),
  ].join("\n");
}

/** Reads what the script printed; exported for its test. */
export function parseProbeOutput(text: string): ProbeResults {
  const results = new Map<string, string | null>(PROBES.map(({ id }) => [id, "not tried: no end, killed"]));
  for (const part of text.split(/^@/m).slice(2)) {
    const [head = "", ...said] = part.split("\n");
    const [id = "", code] = head.split(" ");
    results.set(
      id,
      code === "0" ? null : said.filter((line) => line.trim() !== "").join("; ") || `exit code ${code}`,
    );
  }
  return results;
}
