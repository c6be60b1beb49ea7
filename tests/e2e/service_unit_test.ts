/**
 * deploy/pellucid.service: that what it grants is enough. A lab has no service manager, so what the unit says of
 * capabilities is put into effect with setpriv.
 *
 * @module
 */
import { defaultRunConfig, MAX_CONNECTIONS_UNASKED, MAX_SESSIONS_UNASKED } from "../../config/mod.ts";
import { shareFds } from "../../control/fd_budget.ts";
import { assert, assertEquals, assertStringIncludes } from "../assert.ts";
import { DatagramClient, GATEWAY_LAB, gatewayLab, labTest } from "../lab/mod.ts";
import { endpoint, FAMILIES } from "./datagram_site.ts";
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
  const asUnit = [
    ...["setpriv", "--no-new-privs", "--bounding-set", set, "--inh-caps", set, "--ambient-caps", set],
    ...[Deno.execPath(), "run", "-A", "--cached-only", MAIN],
  ];
  const runtimeFolder = await Deno.makeTempDir({ prefix: "pellucid-runtime-" });
  await using folders = new AsyncDisposableStack();
  folders.defer(() => Deno.remove(runtimeFolder, { recursive: true }));
  const options = { env: { RUNTIME_DIRECTORY: runtimeFolder } };
  await using proxy = gateway.spawn([...asUnit, ...args], options);
  await proxy.stderr.waitFor((line) => line.includes('"event":"ready"') || undefined, 15_000);
  const url = `http://${GATEWAY_LAB.servers.v4}:${web.port}/`;
  const answer = await lab.host("client").output(["curl", "-sS", "--max-time", "5", url]);
  assertStringIncludes(answer, `"peer":"${GATEWAY_LAB.gateway.wanV4}:`);
  // UDP: an answer from a low port, and a refusal.
  const dns = await lab.host("internet").serveDatagrams({ kind: "echo", port: 53 });
  await using sender = new DatagramClient(lab.host("client"));
  for (const family of FAMILIES) {
    const socket = await sender.open({ from: endpoint(family.client, 0) });
    const to = endpoint(family.server, 53);
    assertEquals((await socket.ask({ to, text: "query" })).from, to);
    assertEquals((await dns.received()).from, endpoint(family.wan, socket.port));
    await socket.send({ to: endpoint(family.server, 54), text: "nobody is there" });
    assertEquals((await socket.failed()).code, "ECONNREFUSED");
  }
  const [, ...reload] = setting("ExecReload").split(" ");
  const { code, stdout } = await gateway.run([...asUnit, ...reload], options);
  assertEquals([code, stdout], [0, "nothing has changed\n"]);
  await proxy.kill("SIGTERM");
  assertEquals((await proxy.wait(15_000)).code, 0);
  assertEquals([...Deno.readDirSync(runtimeFolder)], []);
  assertEquals(await gateway.output(["nft", "list", "tables"]), "");
  const [, ...afterStop] = setting("ExecStopPost").split(" ");
  assertEquals(await gateway.output([...asUnit, ...afterStop]), "nothing of ours was found\n");
});

Deno.test("service unit: its limit of open files allows the default number of connections and of sessions", () => {
  const hardLimit = Number(setting("LimitNOFILE"));
  for (const workers of [1, 4]) {
    const { maxConnections, maxSessions } = shareFds(hardLimit, { ...defaultRunConfig(), workers });
    assertEquals([maxConnections, maxSessions], [MAX_CONNECTIONS_UNASKED, MAX_SESSIONS_UNASKED]);
  }
});
