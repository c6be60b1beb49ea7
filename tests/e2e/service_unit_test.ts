/**
 * deploy/pellucid.service: that what it grants is enough. A lab has no service manager, so what the unit says of
 * capabilities is put into effect with setpriv.
 *
 * @module
 */
import { defaultRunConfig, MAX_CONNECTIONS_UNASKED, MAX_SESSIONS_UNASKED } from "../../config/mod.ts";
import { shareFds } from "../../control/fd_budget.ts";
import { assert, assertEquals, assertStringIncludes } from "../assert.ts";
import { GATEWAY_LAB, gatewayLab, labTest } from "../lab/mod.ts";
import { MAIN } from "./proxy_run.ts";

const UNIT = Deno.readTextFileSync(new URL("../../deploy/pellucid.service", import.meta.url));

function setting(name: string): string {
  const [line, ...more] = UNIT.split("\n").filter((line) => line.startsWith(`${name}=`));
  assert(line !== undefined && more.length === 0, `${name}: ${line}, ${more}`);
  return line.slice(name.length + 1);
}

labTest("service unit: the capabilities it grants are enough to run, carry and clean up", async () => {
  const [, ...args] = setting("ExecStart").split(" ");
  assertEquals(setting("AmbientCapabilities"), setting("CapabilityBoundingSet"));
  const granted = setting("AmbientCapabilities").split(" ").map((name) =>
    `+${name.replace(/^CAP_/, "").toLowerCase()}`
  );
  const set = ["-all", ...granted].join(",");
  await using lab = await gatewayLab();
  const gateway = lab.host("gateway");
  await using web = await lab.host("internet").serve({ kind: "http" });
  await using proxy = gateway.spawn([
    ...["setpriv", "--no-new-privs", "--bounding-set", set, "--inh-caps", set, "--ambient-caps", set],
    ...[Deno.execPath(), "run", "-A", "--cached-only", MAIN, ...args],
  ]);
  await proxy.stderr.waitFor((line) => line.includes('"event":"ready"') || undefined, 15_000);
  const url = `http://${GATEWAY_LAB.servers.v4}:${web.port}/`;
  const answer = await lab.host("client").output(["curl", "-sS", "--max-time", "5", url]);
  assertStringIncludes(answer, `"peer":"${GATEWAY_LAB.gateway.wanV4}:`);
  await proxy.kill("SIGTERM");
  assertEquals((await proxy.wait(15_000)).code, 0);
  assertEquals(await gateway.output(["nft", "list", "tables"]), "");
});

Deno.test("service unit: its limit of open files allows the default number of connections and of sessions", () => {
  const hardLimit = Number(setting("LimitNOFILE"));
  for (const workers of [1, 4]) {
    const { maxConnections, maxSessions } = shareFds(hardLimit, { ...defaultRunConfig(), workers });
    assertEquals([maxConnections, maxSessions], [MAX_CONNECTIONS_UNASKED, MAX_SESSIONS_UNASKED]);
  }
});
