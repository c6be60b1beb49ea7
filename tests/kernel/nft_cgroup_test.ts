/**
 * That the nft backend's rules know a program by its cgroup. The kernel has one tree of these for all namespaces, so
 * only who may change it (root) can put a program into a cgroup; elsewhere this test cannot be run.
 *
 * @module
 */
import { HostExec } from "../../nft/exec.ts";
import type { Plan } from "../../nft/plan.ts";
import { assertEquals } from "../assert.ts";
import { gatewayLab, type LabHost, labTest } from "../lab/mod.ts";
import { everyRulePlan } from "./every_rule_plan.ts";
import { nftBackend } from "./nft_backend_lab.ts";

/** Where version 2 of cgroups is mounted, alone or beside version 1. */
const MOUNTS = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

const mount = MOUNTS.find((path) => exists(`${path}/cgroup.controllers`));

function exists(path: string): boolean {
  try {
    return Deno.statSync(path) !== undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

const canRun = mount !== undefined && Deno.uid() === 0;

labTest("nft backend: own traffic is told by its cgroup, and by those above", async () => {
  const [outer, inner] = [`pellucid_test_${Deno.pid}`, "inner"];
  await Deno.mkdir(`${mount}/${outer}/${inner}`, { recursive: true });
  try {
    await using lab = await gatewayLab();
    const exec = withCgroups(lab.host("gateway"));
    // nft looks in one place, whatever is mounted there.
    if (mount !== MOUNTS[0]) {
      assertEquals((await exec.run(["mount", "--bind", mount!, MOUNTS[0]!])).stderr, "");
    }
    for (const path of [outer, `${outer}/${inner}`]) {
      const backend = nftBackend(exec, "plain");
      const plan = planFor(path);
      await backend.load(plan, "intercept");
      assertEquals(await backend.differences(plan, "intercept"), []);
      const send = (from: string) =>
        exec.run([
          "sh",
          "-c",
          `echo 0 >'${from}/cgroup.procs' && exec dig +tries=1 +timeout=1 @198.51.100.10 x.test`,
        ]);
      await send(MOUNTS[0]!);
      assertEquals((await backend.counters(plan)).map(({ packets }) => packets), [0]);
      await send(`${MOUNTS[0]}/${outer}/${inner}`);
      assertEquals((await backend.counters(plan)).map(({ packets }) => packets), [1]);
    }
  } finally {
    await Deno.remove(`${mount}/${outer}/${inner}`);
    await Deno.remove(`${mount}/${outer}`);
  }
}, { ignore: !canRun });

/** `ip netns exec` would mount a /sys of its own, without cgroups. */
function withCgroups({ holder, name }: LabHost): HostExec {
  const namespaces = `/proc/${holder}/ns`;
  return new HostExec([
    ...["nsenter", `--user=${namespaces}/user`, `--mount=${namespaces}/mnt`, "--preserve-credentials"],
    ...["nsenter", `--net=/run/netns/${name}`],
  ]);
}

/** Counts the datagrams of that cgroup. */
function planFor(path: string): Plan {
  return {
    ...everyRulePlan(),
    chains: [{
      name: "own",
      type: "filter",
      hook: "output",
      priority: "filter",
      interfaces: "any",
      why: "This host's own traffic.",
      rules: [{
        id: "cgroup",
        during: "always",
        matches: [{ kind: "protocol", protocol: "udp" }, { kind: "cgroup", path }],
        verdict: { kind: "pass" },
        why: "of one program",
      }],
    }],
    sets: [],
  };
}
