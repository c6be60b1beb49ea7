/**
 * Every example of docs/examples/, run as it is there, in a lab with the interfaces and addresses that it names: what
 * becomes of the traffic that it speaks of, and that nothing is left when it ends.
 */
import { createHash } from "node:crypto";
import { addressBytes, parseAddress } from "../../net/mod.ts";
import { assert, assertEquals } from "../assert.ts";
import {
  DatagramClient,
  type DatagramServer,
  HttpProxy,
  type LabHost,
  labTest,
  type MappingAnswer,
  SocksServer,
} from "../lab/mod.ts";
import { SeededBytes } from "../lab/seeded_bytes.ts";
import { endpoint } from "./datagram_site.ts";
import { addressesOf, attempt, ROUTER, runExample, SENT, talk, waysOfTcp } from "./example_site.ts";
import { serveNames, whoAnswers, withResolvers } from "./resolver_program.ts";
import { hostOf } from "./sidecar_site.ts";

/** Of the internet host, in no list of any example. */
const SERVER = { v4: "203.0.113.5", v6: "2001:db8:113::5" };
const BOTH = [SERVER.v4, SERVER.v6];

const toPort = (addresses: readonly string[], port: number) => addresses.map((one) => endpoint(one, port));

/** Asks an echo server by one datagram. @returns whom the server has seen. */
async function ask(
  client: DatagramClient,
  server: DatagramServer,
  address: string,
  tos = 0,
): Promise<string> {
  const socket = await client.open({ from: address.includes(":") ? "[::]:0" : "0.0.0.0:0" });
  const to = endpoint(address, server.port);
  const answer = await socket.ask({ to, text: "anybody?", tos });
  assertEquals([answer.from, answer.text], [to, "anybody?"]);
  return hostOf((await server.received()).from);
}

async function assertReset(host: LabHost, address: string, port: number): Promise<void> {
  const { outcome, end } = await attempt(host, address, port);
  assert(outcome === "reset" || end === "reset", `${address}:${port}: ${outcome}, ${end}`);
}

labTest("examples: gateway.toml", async () => {
  const intranet = "10.1.2.3", offices = ["192.0.2.10", "192.0.2.11"];
  await runExample("gateway", {
    on: "router",
    neighbours: [
      { name: "desk", interface: "eth1" },
      { name: "container", interface: "br-office" },
      { name: "guest", interface: "br-guests" },
    ],
    addresses: [...BOTH, intranet, ...offices],
  }, async (lab, start) => {
    const internet = lab.host("internet");
    const [office, backup] = await Promise.all(
      offices.map((address) => SocksServer.start(internet, { address, port: 1080 })),
    );
    const tcp = await internet.serve({ kind: "echo" }), udp = await internet.serveDatagrams({ kind: "echo" });
    const { port } = tcp;
    const proxy = await start();
    for (const [index, name] of ["desk", "container"].entries()) {
      const host = lab.host(name);
      await using datagrams = new DatagramClient(host);
      for (const address of BOTH) {
        await talk(host, address, tcp);
        await ask(datagrams, udp, address);
      }
      assertEquals(office!.requests.slice(2 * index).map(({ target }) => target), toPort(BOTH, port));
      assertEquals(office!.datagrams.slice(2 * index), toPort(BOTH, udp.port));
      // The office's own networks: by the kernel, in the client's name.
      const local = await talk(host, intranet, tcp);
      assertEquals(local.peer, local.own);
      assertEquals(await ask(datagrams, udp, intranet), addressesOf(index).v4);
      await assertReset(host, SERVER.v4, 25);
    }
    const guest = await talk(lab.host("guest"), SERVER.v4, tcp);
    assertEquals(guest.peer, guest.own);
    // One goes, the other carries what is new.
    await office!.process.stop();
    await talk(lab.host("desk"), SERVER.v4, tcp);
    assertEquals(backup!.requests.map(({ target }) => target), toPort([SERVER.v4], port));
    const each = [...toPort(BOTH, port).map((to) => `${to} by proxies`), `${SERVER.v4}:25 by block`];
    const all = [...each, ...each, `${SERVER.v4}:${port} by proxies`];
    assertEquals(await waysOfTcp(proxy, all.length), all.toSorted());
  });
});

const OFFICE = { web: "203.0.113.80", work: "2001:db8::10", excluded: "192.168.0.10" };
const AT_WORK = ["198.51.100.10", "2001:db8:51::10"];
const DESK = {
  on: "desk",
  neighbours: [{ name: "desk", interface: "lan0" }],
  addresses: [...BOTH, ...Object.values(OFFICE), ...AT_WORK],
  env: { WEB_PROXY_PASSWORD: "open sesame" },
};

/** Has a command read this as the table of names. */
async function withHosts(run: (prefix: readonly string[]) => Promise<void>): Promise<void> {
  const hosts = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(hosts, `127.0.0.1 localhost\n${OFFICE.web} proxy.example\n`);
    // `ip netns exec` gives each command a mount namespace of its own.
    await run(["sh", "-c", 'mount -n --bind "$0" /etc/hosts && exec "$@"', hosts]);
  } finally {
    await Deno.remove(hosts);
  }
}

// The lab has one user, and all that it sends is root's.
const SOMEBODY = { 'exclude-uid = "root"': 'exclude-uid = "nobody"' };

labTest(
  "examples: host.toml, for programs of somebody else than root",
  () =>
    withHosts((prefix) =>
      runExample("host", { ...DESK, prefix, patches: SOMEBODY }, async (lab, start) => {
        const internet = lab.host("internet"), desk = lab.host("desk");
        const login = { username: "me", password: "open sesame" };
        const http = await HttpProxy.start(internet, { port: 3128, login });
        const socks = await SocksServer.start(internet, { address: OFFICE.work, port: 1080 });
        const tcp = await internet.serve({ kind: "echo" }),
          udp = await internet.serveDatagrams({ kind: "echo" });
        await internet.serveDatagrams({ kind: "echo", port: 443, addresses: [SERVER.v4] });
        const proxy = await start();
        await using datagrams = new DatagramClient(desk);
        for (const address of BOTH) {
          await talk(desk, address, tcp);
          const seen = await ask(datagrams, udp, address);
          assert(Object.values(addressesOf(0)).includes(seen), seen);
        }
        for (const address of AT_WORK) {
          await talk(desk, address, tcp);
          await ask(datagrams, udp, address);
        }
        assertEquals(http.targets, toPort(BOTH, tcp.port));
        assertEquals(socks.requests.map(({ target }) => target), toPort(AT_WORK, tcp.port));
        assertEquals(socks.datagrams, toPort(AT_WORK, udp.port));
        const quic = await datagrams.open({ from: "0.0.0.0:0" });
        await quic.send({ to: `${SERVER.v4}:443`, text: "QUIC" });
        assertEquals((await quic.failed()).code, "ECONNREFUSED");
        const excluded = await talk(desk, OFFICE.excluded, tcp);
        assertEquals(excluded.peer, excluded.own);
        const all = [
          ...toPort(BOTH, tcp.port).map((to) => `${to} by web`),
          ...toPort(AT_WORK, tcp.port).map((to) => `${to} by work`),
        ];
        assertEquals(await waysOfTcp(proxy, all.length), all.toSorted());
      })
    ),
);

labTest(
  "examples: host.toml as it is leaves root's connections alone",
  () =>
    withHosts((prefix) =>
      runExample("host", { ...DESK, prefix }, async (lab, start) => {
        const internet = lab.host("internet"), desk = lab.host("desk");
        const tcp = await internet.serve({ kind: "echo" }),
          udp = await internet.serveDatagrams({ kind: "echo" });
        const proxy = await start();
        await using datagrams = new DatagramClient(desk);
        // No server of the example's is there: what was taken would not arrive.
        for (const address of [...BOTH, ...AT_WORK]) {
          const { peer, own } = await talk(desk, address, tcp);
          assertEquals(peer, own);
          await ask(datagrams, udp, address);
        }
        assertEquals(await waysOfTcp(proxy, 0), []);
      })
    ),
);

labTest("examples: gaming-console.toml", async () => {
  const near = "198.51.100.20", friend = `${SERVER.v4}:40000`;
  const mac = (address: string) => ["ip", "link", "set", "eth0", "address", address];
  await runExample("gaming-console", {
    on: "router",
    neighbours: [{ name: "console", interface: "eth1" }],
    addresses: [...BOTH, near],
  }, async (lab, start) => {
    const internet = lab.host("internet"), console = lab.host("console");
    const socks = await SocksServer.start(internet, { address: near, port: 1080 });
    const [web, game] = await Promise.all([443, 7000].map((port) => internet.serve({ kind: "echo", port })));
    const udp = await internet.serveDatagrams({ kind: "echo" });
    const lobby = await internet.serveDatagrams({ kind: "mapping" });
    await console.output(mac("02:00:5e:10:00:01"));
    const proxy = await start();
    await using datagrams = new DatagramClient(console);
    for (const address of BOTH) {
      await talk(console, address, game!);
      const download = await talk(console, address, web!);
      assertEquals(download.peer, download.own);
      await ask(datagrams, udp, address);
      const voice = await ask(datagrams, udp, address, 46 << 2);
      assert([...Object.values(ROUTER)].includes(voice), voice);
    }
    assertEquals(socks.requests.map(({ target }) => target), toPort(BOTH, 7000));
    assertEquals(socks.datagrams, toPort(BOTH, udp.port));
    // The lobby sees one endpoint, and so does a friend to whom the console has never written.
    const socket = await datagrams.open({ from: "0.0.0.0:0" });
    const answer = await socket.ask({
      to: endpoint(SERVER.v4, lobby.port),
      text: JSON.stringify({ from: [friend] }),
    });
    assertEquals(answer.from, friend);
    const { mapped } = JSON.parse(answer.text!) as MappingAnswer;
    assert(!Object.values(addressesOf(0)).includes(hostOf(mapped)), mapped);
    const all = toPort(BOTH, 7000).map((to) => `${to} by near`);
    assertEquals(await waysOfTcp(proxy, all.length), all);
    // Another host behind eth1, as its card tells.
    await console.output(mac("02:00:5e:10:00:02"));
    const other = await talk(console, SERVER.v4, game!);
    assertEquals(other.peer, other.own);
    assertEquals(await ask(datagrams, udp, SERVER.v4), addressesOf(0).v4);
  });
});

const resolvers = withResolvers();
const OURS = "192.0.2.101", SECOND = "192.0.2.102", THEIRS = "192.0.2.103";

/** A header of the PROXY protocol, version 2, of a TCP connection, in front of what a client has sent. */
function sha256WithHeader(client: string, destination: string): string {
  const [from, to] = [client, destination].map((one) => addressBytes(parseAddress(hostOf(one))!));
  const ports = [client, destination].map((one) => Number(one.slice(one.lastIndexOf(":") + 1)));
  const addresses = [...from!, ...to!, ...ports.flatMap((port) => [port >> 8, port & 0xff])];
  const hash = createHash("sha256").update("\r\n\r\n\0\r\nQUIT\n");
  hash.update(Uint8Array.of(0x21, from!.length === 4 ? 0x11 : 0x21, 0, addresses.length, ...addresses));
  return hash.update(new SeededBytes(1).next(SENT)).digest("hex");
}

labTest(`examples: sidecar.toml${resolvers.remark}`, async (context) => {
  const service = ["10.96.3.4", "fd00:96::304"], mesh = "10.96.0.80";
  const pod = addressesOf(0);
  await runExample("sidecar", {
    on: "pod",
    neighbours: [{ name: "pod", interface: "eth1" }],
    addresses: [...BOTH, ...service, mesh, "10.96.0.10", "10.96.0.11"],
  }, async (lab, start) => {
    const internet = lab.host("internet"), host = lab.host("pod");
    const at = (one: LabHost, port: number, address?: string) =>
      one.serve({ kind: "echo", port, ...(address === undefined ? {} : { address }) });
    const [balancer, plain, ssh, secure, program, health] = await Promise.all([
      at(internet, 8443, mesh),
      at(internet, 9000),
      at(internet, 22),
      at(internet, 443),
      at(host, 8080),
      at(host, 15_021),
    ]);
    await serveNames(internet, { me: OURS, addresses: ["10.96.0.10", "10.96.0.11"] });
    await serveNames(internet, { me: THEIRS, addresses: BOTH });
    const proxy = await start();
    for (const address of service) {
      await context.step(`to ${address}`, async () => {
        for (const port of [443, 8080]) {
          const { outcome, received, receivedSha256, local } = await attempt(host, address, port);
          const header = address.includes(":") ? 52 : 28;
          assertEquals([outcome, received], ["connected", SENT + header]);
          assertEquals(receivedSha256, sha256WithHeader(local!, endpoint(address, port)));
          assertEquals(hostOf((await balancer!.nextOpened()).peer), pod.v4);
        }
        await talk(host, address, plain!);
        const spared = await talk(host, address, ssh!);
        assertEquals(spared.peer, spared.own);
      });
    }
    await context.step("the rest of the world is reached as if there were no sidecar", async () => {
      const { peer, own } = await talk(host, SERVER.v4, secure!);
      assertEquals(peer, own);
    });
    await context.step(
      "to the pod, straight to its program, whatever the rules say of the port",
      async () => {
        for (const address of [pod.v4, pod.v6]) {
          const taken = await talk(internet, address, program!);
          assertEquals([hostOf(taken.peer), hostOf(taken.own) === address], [address, false]);
          const probe = await talk(internet, address, health!);
          assertEquals(probe.peer, probe.own);
        }
      },
    );
    await context.step("queries are answered from the cluster's resolvers", async () => {
      for (const asked of BOTH) {
        for (const way of [[], ["+tcp"]]) assertEquals(await whoAnswers(host, asked, ...way), OURS);
      }
    });
    const flows = await waysOfTcp(proxy, 10);
    assertEquals(
      flows,
      [
        ...service.flatMap((address) => toPort([address], 443)).map((to) => `${to} by mesh`),
        ...service.flatMap((address) => toPort([address], 8080)).map((to) => `${to} by mesh`),
        ...toPort(service, 9000).map((to) => `${to} by direct`),
        ...toPort([pod.v4, pod.v6], 8080).map((to) => `${to} by undefined`),
        ...toPort(BOTH, 53).map((to) => `${to} by undefined`),
      ].toSorted(),
    );
    assertEquals(
      proxy.logged("flow").flatMap(({ direction, destination }) =>
        direction === "inbound" ? [destination] : []
      )
        .toSorted(),
      toPort([pod.v4, pod.v6], 8080).toSorted(),
    );
  });
}, { ignore: resolvers.ignore });

labTest(`examples: dns-only.toml${resolvers.remark}`, async () => {
  await runExample("dns-only", {
    on: "router",
    neighbours: [{ name: "desk", interface: "eth1" }],
    addresses: [...BOTH, "192.0.2.53", "2001:db8::53"],
    afterwards: async (lab) => assertEquals(await whoAnswers(lab.host("desk"), SERVER.v4), THEIRS),
  }, async (lab, start) => {
    const internet = lab.host("internet"), desk = lab.host("desk");
    const first = await serveNames(internet, { me: OURS, addresses: ["192.0.2.53"] });
    await serveNames(internet, { me: SECOND, addresses: ["2001:db8::53"], port: 5353 });
    await serveNames(internet, { me: THEIRS, addresses: BOTH });
    const tcp = await internet.serve({ kind: "echo" }), udp = await internet.serveDatagrams({ kind: "echo" });
    const proxy = await start();
    await using datagrams = new DatagramClient(desk);
    for (const [family, address] of Object.entries(SERVER)) {
      assertEquals(await whoAnswers(desk, address), OURS);
      assertEquals(await whoAnswers(desk, address, "+tcp"), THEIRS);
      const { peer, own } = await talk(desk, address, tcp);
      assertEquals(peer, own);
      assertEquals(await ask(datagrams, udp, address), addressesOf(0)[family as "v4" | "v6"]);
    }
    await first.stop();
    assertEquals(await whoAnswers(desk, SERVER.v4), SECOND);
    assertEquals(await waysOfTcp(proxy, 0), []);
  });
}, { ignore: resolvers.ignore });
