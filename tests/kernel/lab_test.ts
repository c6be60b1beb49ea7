/**
 * The lab itself: that it is there, that it is shut off, and that nothing of it stays. What its servers and its
 * client do is in lab_servers_test.ts.
 *
 * @module
 */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "../assert.ts";
import { GATEWAY_LAB, gatewayLab, type HttpAnswer, Lab, labTest, LabUnavailableError } from "../lab/mod.ts";

const LAB_MODULE = new URL("../lab/mod.ts", import.meta.url).href;

labTest("lab: both families get through the gateway, and the server sees who dialled", async () => {
  await using lab = await gatewayLab({ secondClient: true, clientMtu: 1400 });
  await using web = await lab.host("internet").serve({ kind: "http" });
  const { v4, v4b, v6, v6b } = GATEWAY_LAB.servers;
  const clients = { client: GATEWAY_LAB.client, client2: GATEWAY_LAB.secondClient };
  for (const [name, own] of Object.entries(clients)) {
    for (
      const [server, source] of [[v4, own.v4], [v4b, own.v4], [`[${v6}]`, `[${own.v6}]`], [
        `[${v6b}]`,
        `[${own.v6}]`,
      ]]
    ) {
      const url = `http://${server}:${web.port}/`;
      const body = await lab.host(name).output(["curl", "-sS", "--max-time", "5", url]);
      const { peer, url: asked } = JSON.parse(body) as HttpAnswer;
      assertEquals([peer.slice(0, peer.lastIndexOf(":")), asked], [source, url]);
    }
  }
  assertStringIncludes(await lab.host("client").output(["ip", "link", "show", "eth0"]), "mtu 1400");
  assertStringIncludes(await lab.host("gateway").output(["ip", "link", "show", "wan0"]), "mtu 1500");
});

labTest("lab: IPv6 works at once, without waiting for a neighbour solicitation to be repeated", async () => {
  // Three labs: one lucky start proves little.
  for (let round = 0; round < 3; round++) {
    await using lab = await gatewayLab();
    const result = await lab.host("client").connect({ address: GATEWAY_LAB.servers.v6, port: 9, steps: [] });
    assertEquals(result.outcome, "refused");
    // The kernel repeats a solicitation after 1000 ms.
    assert(result.connectMs < 900, `connect took ${result.connectMs} ms`);
  }
});

labTest("lab: two at the same time do not see each other", async () => {
  await using first = await gatewayLab();
  await using second = await gatewayLab();
  await using web = await first.host("internet").serve({ kind: "http", port: 8080 });
  await using sameEndpoint = await second.host("internet").serve({ kind: "http", port: 8080 });
  const url = `http://${GATEWAY_LAB.servers.v4}:8080/`;
  for (const [lab, server] of [[first, web], [second, sameEndpoint]] as const) {
    await lab.host("client").output(["curl", "-sS", "--max-time", "5", url]);
    await server.nextRequest();
  }
  await first.host("gateway").output(["nft", "add", "table", "inet", "only_in_first"]);
  assertEquals(await second.host("gateway").output(["nft", "list", "tables"]), "");
  const processes = await second.host("client").output([
    "sh",
    "-c",
    "grep -lz server[_]main /proc/[0-9]*/cmdline | wc -l",
  ]);
  assertEquals(processes.trim(), "1");
});

labTest("lab: commands get their directory, environment, standard input and time limit", async () => {
  await using lab = await gatewayLab();
  const client = lab.host("client");
  const script = 'cat; echo "$PWD $GREETING $(id -u)"; echo oops >&2; exit 3';
  const options = { stdin: "in\n", cwd: "/usr", env: { GREETING: "hello" } };
  assertEquals(await client.run(["sh", "-c", script], options), {
    code: 3,
    signal: null,
    stdout: "in\n/usr hello 0\n",
    stderr: "oops\n",
  });
  const late = await assertRejects(
    () => client.run(["sh", "-c", "echo stuck >&2; sleep 100"], { timeoutMs: 300 }),
    Error,
  );
  assertStringIncludes(late.message, "not within 300 ms");
  assertStringIncludes(late.message, "stuck");
  await assertRejects(() => client.output(["false"]), Error, "client: false: exit 1");
  assertEquals((await client.run(["no-such-program"])).code, 127);
  assertEquals((await client.run(["nft", "--version"], { env: { PATH: "/nonexistent" } })).code, 127);
});

labTest("lab: a process is killed by the id it has outside", async () => {
  await using lab = await gatewayLab();
  const process = lab.host("gateway").spawn([
    "sh",
    "-c",
    "trap '' TERM; echo $$; while :; do sleep 0.1; done",
  ]);
  const printed = await process.stdout.waitFor((line) => line, 15_000);
  assertEquals(await process.insidePid(), Number(printed));
  const outside = await process.outsidePid();
  assertStringIncludes(await Deno.readTextFile(`/proc/${outside}/cmdline`), "trap");
  await process.kill("SIGTERM");
  await process.kill("SIGSTOP");
  Deno.kill(outside, "SIGKILL");
  await process.kill("SIGCONT").catch(() => {});
  assertEquals((await process.wait(15_000)).signal, "SIGKILL");
  await assertRejects(() => process.kill("SIGTERM"), Error, "has no process");
});

labTest("lab: stop ends what ignores signals and what was put in the background", async () => {
  const lab = await gatewayLab();
  const script = "trap '' TERM INT HUP; (trap '' TERM INT HUP; exec sleep 1000) & echo $!; wait";
  const process = lab.host("client").spawn(["sh", "-c", script]);
  await process.stdout.waitFor((line) => line, 15_000);
  const pids = await descendants(lab.holderPid);
  pids.push(await process.outsidePid(), ...await descendants(await process.outsidePid()));
  assert(pids.length >= 3);
  await lab.stop();
  assertEquals(pids.filter(isAlive), []);
  assertEquals(process.running, false);
});

labTest("lab: nothing is left when the program that started it is killed", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const program = `${directory}/holds_a_lab.ts`;
    await Deno.writeTextFile(
      program,
      `import { gatewayLab } from ${JSON.stringify(LAB_MODULE)};
const lab = await gatewayLab();
const server = await lab.host("internet").serve({ kind: "echo" });
const sleeper = lab.host("client").spawn(["setsid", "sh", "-c", "sleep 1000 & echo up; exec sleep 1000"]);
await sleeper.stdout.waitFor((line) => line === "up" || undefined, 15_000);
console.log("up");
await new Promise((resolve) => setTimeout(resolve, 60_000));
`,
    );
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-config", program],
      stdout: "piped",
    }).spawn();
    const reader = child.stdout.getReader();
    await reader.read();
    // Descendants: unshare and process 1, and nsenter and command for the server and for the sleepers.
    const pids = await descendants(child.pid);
    assert(pids.length >= 7, `only ${pids.length} processes`);
    child.kill("SIGKILL");
    await child.status;
    await reader.cancel();
    const deadline = performance.now() + 15_000;
    while (pids.some(isAlive) && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assertEquals(pids.filter(isAlive), []);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

labTest("lab: a topology that cannot be built is refused with what the tool said", async () => {
  const twice = ["192.0.2.1/24", "192.0.2.1/24"];
  await assertRejects(
    () =>
      Lab.start({
        hosts: { a: {}, b: {} },
        links: [{
          ends: [{ host: "a", interface: "eth0", addresses: twice }, {
            host: "b",
            interface: "eth0",
            addresses: [],
          }],
        }],
      }),
    LabUnavailableError,
    "Command failed",
  );
});

labTest(
  "lab: where none can be built a test fails and says why, and is skipped only when that is allowed",
  async () => {
    const directory = await Deno.makeTempDir();
    try {
      const program = `${directory}/wants_a_lab_test.ts`;
      await Deno.writeTextFile(
        program,
        `import { gatewayLab, labTest } from ${JSON.stringify(LAB_MODULE)};
labTest("wants a lab", async () => { await using lab = await gatewayLab(); lab.host("client"); });
`,
      );
      await using lab = await gatewayLab();
      const script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"';
      const argv = [
        "sh",
        "-c",
        script,
        "sh",
        Deno.execPath(),
        "test",
        "-A",
        "--no-check",
        "--no-config",
        program,
      ];
      const refused = await lab.host("client").run(argv, { env: { NO_COLOR: "1", ALLOW_NO_LAB: "" } });
      assertEquals(refused.code, 1);
      assertStringIncludes(refused.stdout, "user.max_user_namespaces is 0: sysctl user.max_user_namespaces=");
      const allowed = await lab.host("client").run(argv, { env: { NO_COLOR: "1", ALLOW_NO_LAB: "1" } });
      assertEquals(allowed.code, 0);
      assertStringIncludes(allowed.stdout, "1 ignored");
      assertStringIncludes(allowed.stdout + allowed.stderr, "skipped, because no lab can be built here");
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  },
);

/** Ids of all processes below `pid`. */
async function descendants(pid: number): Promise<number[]> {
  const text = await Deno.readTextFile(`/proc/${pid}/task/${pid}/children`);
  const children = text.split(" ").filter((word) => word !== "").map(Number);
  return [...children, ...(await Promise.all(children.map(descendants))).flat()];
}

function isAlive(pid: number): boolean {
  try {
    // A zombie is waiting for its parent to look; it holds nothing any more.
    return !/^State:\s+Z/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch (error) {
    // Gone, or going away while it is read.
    if (error instanceof Deno.errors.NotFound || (error as { code?: unknown }).code === "ESRCH") return false;
    throw error;
  }
}
