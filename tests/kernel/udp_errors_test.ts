/**
 * ICMP errors, the error queue and raw replies against real kernels: the clients are plain sockets, and where the
 * errors are real ones, plain routers and hosts sent them.
 *
 * @module
 */
import {
  ECONNREFUSED,
  ENETUNREACH,
  SO_EE_ORIGIN_ICMP,
  SO_EE_ORIGIN_ICMP6,
  SO_EE_ORIGIN_LOCAL,
} from "../../ffi/mod.ts";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "../assert.ts";
import { GATEWAY_LAB, gatewayLab, type Lab, type LabHost, type LabProcess, labTest } from "../lab/mod.ts";
import type { UdpClientOptions, UdpClientResult } from "./udp_client_main.ts";
import type { UdpErrorAction } from "./udp_errors_main.ts";

const { client, secondClient, gateway, servers, nowhere } = GATEWAY_LAB;

const CLIENT_PORT = 40_000;

interface Family {
  readonly version: 4 | 6;
  readonly client: string;
  readonly secondClient: string;
  /** The gateway's address towards each client. */
  readonly gateway: string;
  readonly secondGateway: string;
  readonly server: string;
  readonly otherServer: string;
  readonly nowhere: string;
  readonly origin: number;
  /** Type and code of "port unreachable", "too big" and "no route", and the type of the first and last. */
  readonly port: readonly [type: number, code: number];
  readonly tooBig: readonly [type: number, code: number];
  readonly noRoute: readonly [type: number, code: number];
  /** Bytes of IP and UDP header. */
  readonly headers: number;
}

const FAMILIES: readonly Family[] = [
  {
    version: 4,
    client: client.v4,
    secondClient: secondClient.v4,
    gateway: gateway.v4,
    secondGateway: "198.18.1.1",
    server: servers.v4,
    otherServer: servers.v4b,
    nowhere: nowhere.v4,
    origin: SO_EE_ORIGIN_ICMP,
    port: [3, 3],
    tooBig: [3, 4],
    noRoute: [3, 0],
    headers: 28,
  },
  {
    version: 6,
    client: `[${client.v6}]`,
    secondClient: `[${secondClient.v6}]`,
    gateway: `[${gateway.v6}]`,
    secondGateway: "[2001:db8:2::1]",
    server: `[${servers.v6}]`,
    otherServer: `[${servers.v6b}]`,
    nowhere: `[${nowhere.v6}]`,
    origin: SO_EE_ORIGIN_ICMP6,
    port: [1, 4],
    tooBig: [2, 0],
    noRoute: [1, 0],
    headers: 48,
  },
];

/** A client that has its socket open. */
class ObservingClient {
  private constructor(readonly process: LabProcess) {}

  static async start(host: LabHost, options: UdpClientOptions): Promise<ObservingClient> {
    const process = host.deno("tests/kernel/udp_client_main.ts", [JSON.stringify(options)]);
    await process.stdout.waitFor((line) => line === "open" || undefined, 10_000);
    return new ObservingClient(process);
  }

  result(): Promise<UdpClientResult> {
    return this.process.stdout.waitFor(
      (line) => line.startsWith("{") ? JSON.parse(line) as UdpClientResult : undefined,
      10_000,
    );
  }
}

/** Lets the gateway act; its sockets stay open until `whileOpen` is done. */
async function act(
  lab: Lab,
  actions: readonly UdpErrorAction[],
  whileOpen: () => Promise<void> = () => Promise.resolve(),
): Promise<(boolean | number)[]> {
  const process = lab.host("gateway").deno("tests/kernel/udp_errors_main.ts", [JSON.stringify(actions)]);
  const results = await process.stdout.waitFor(
    (line) => line.startsWith("[") ? JSON.parse(line) as (boolean | number)[] : undefined,
    10_000,
  );
  await whileOpen();
  await process.closeStdin();
  assertEquals((await process.wait(15_000)).code, 0, process.stderr.text());
  return results;
}

/** A lab in which nobody answers for `nowhere`, so that what the client hears of it is ours. */
async function silentLab(options: { secondClient?: boolean } = {}): Promise<Lab> {
  const lab = await gatewayLab(options);
  await lab.host("internet").blackhole(`${nowhere.v4}/32`);
  await lab.host("internet").blackhole(`${nowhere.v6}/128`);
  return lab;
}

for (const family of FAMILIES) {
  const ip = `IPv${family.version}`;
  const local = `${family.client}:${CLIENT_PORT}`;

  labTest(`udp errors: ${ip}: a plain client's socket is refused by our port unreachable`, async () => {
    await using lab = await silentLab();
    const remote = `${family.nowhere}:27015`;
    const observer = await ObservingClient.start(lab.host("client"), {
      local,
      remote,
      connected: true,
      receiveErrors: false,
      dontFragment: false,
      sendBytes: 300,
      enough: 1,
    });
    const sent = await act(lab, [{
      do: "unreachable",
      errno: ECONNREFUSED,
      client: local,
      remote,
      bytes: 300,
    }]);
    assertEquals(sent, [true]);
    assertEquals((await observer.result()).errors, ["ECONNREFUSED"]);
  });

  labTest(
    `udp errors: ${ip}: a client sees which of its datagrams failed, why, and who says so`,
    async () => {
      await using lab = await silentLab();
      const remote = `${family.nowhere}:27015`;
      const observer = await ObservingClient.start(lab.host("client"), {
        local,
        remote,
        connected: false,
        receiveErrors: true,
        dontFragment: false,
        sendBytes: 1400,
        enough: 3,
      });
      const about = { client: local, remote, bytes: 1400 };
      const [type, code] = family.port;
      // Of another remote than the client's socket ever wrote to: an unconnected socket hears of that as well.
      const elsewhere = `${family.nowhere}:5353`;
      assertEquals(
        await act(lab, [
          { do: "unreachable", errno: ENETUNREACH, ...about },
          { do: "relay", error: { type, code, info: 0 }, offender: `${family.server}:0`, ...about },
          {
            do: "unreachable",
            errno: ECONNREFUSED,
            client: local,
            remote: elsewhere,
            bytes: 1,
          },
        ]),
        [true, true, true],
      );
      const { entries } = await observer.result();
      assertEquals(
        entries.map((entry) => [entry.errno, entry.type, entry.code, entry.offender, entry.destination]),
        [
          ["ENETUNREACH", ...family.noRoute, `${family.gateway}:0`, remote],
          ["ECONNREFUSED", type, code, `${family.server}:0`, remote],
          ["ECONNREFUSED", type, code, `${family.gateway}:0`, elsewhere],
        ],
      );
      // 576 bytes in all for ICMP, 1,280 for ICMPv6, less two IP headers, ICMP's and UDP's.
      const quoted = family.version === 4 ? 576 - 56 : 1280 - 96;
      assertEquals(entries.map((entry) => [entry.quoted, entry.whole]), [[quoted, true], [quoted, true], [
        1,
        true,
      ]]);
      for (const { origin } of entries) assertEquals(origin, family.origin);
    },
  );

  labTest(`udp errors: ${ip}: our packet too big lowers the client's path MTU`, async () => {
    await using lab = await silentLab();
    const remote = `${family.nowhere}:27015`;
    const sendBytes = 1500 - family.headers;
    const observer = await ObservingClient.start(lab.host("client"), {
      local,
      remote,
      connected: true,
      receiveErrors: true,
      dontFragment: true,
      sendBytes,
      enough: 1,
    });
    const sent = await act(lab, [{ do: "tooBig", mtu: 1300, client: local, remote, bytes: sendBytes }]);
    assertEquals(sent, [true]);
    const { entries, mtu, sentAgain } = await observer.result();
    const [type, code] = family.tooBig;
    assertEquals(
      entries.map((entry) => [entry.errno, entry.type, entry.code, entry.info, entry.offender]),
      [["EMSGSIZE", type, code, 1300, `${family.gateway}:0`]],
    );
    assertEquals([mtu, sentAgain], [1300, "EMSGSIZE"]);
    const route = await lab.host("client").output([
      "ip",
      "route",
      "get",
      family.nowhere.replace(/[[\]]/g, ""),
    ]);
    assertStringIncludes(route, "mtu 1300");
  });

  labTest(`udp errors: ${ip}: this host's address in an error is the one towards that client`, async () => {
    await using lab = await silentLab({ secondClient: true });
    const remote = `${family.nowhere}:27015`;
    const clients = [[lab.host("client"), family.client], [
      lab.host("client2"),
      family.secondClient,
    ]] as const;
    const observers = await Promise.all(clients.map(([host, address]) =>
      ObservingClient.start(host, {
        local: `${address}:${CLIENT_PORT}`,
        remote,
        connected: true,
        receiveErrors: true,
        dontFragment: false,
        sendBytes: 8,
        enough: 1,
      })
    ));
    assertEquals(
      await act(
        lab,
        clients.map(([_, address]) => ({
          do: "unreachable",
          errno: ECONNREFUSED,
          client: `${address}:${CLIENT_PORT}`,
          remote,
          bytes: 8,
        })),
      ),
      [true, true],
    );
    const results = await Promise.all(observers.map((observer) => observer.result()));
    assertEquals(
      results.map(({ entries }) => entries[0]?.offender),
      [`${family.gateway}:0`, `${family.secondGateway}:0`],
    );
  });

  labTest(
    `udp errors: ${ip}: the error queue tells of a server's port unreachable, quoting 300 bytes`,
    async () => {
      await using lab = await gatewayLab();
      const remote = `${family.server}:27015`;
      const observer = await ObservingClient.start(lab.host("client"), {
        local,
        remote,
        connected: false,
        receiveErrors: true,
        dontFragment: false,
        sendBytes: 300,
        enough: 1,
      });
      const { entries } = await observer.result();
      const [type, code] = family.port;
      assertEquals(entries, [{
        errno: "ECONNREFUSED",
        origin: family.origin,
        type,
        code,
        info: 0,
        destination: remote,
        offender: `${family.server}:0`,
        quoted: 300,
        whole: true,
      }]);
    },
  );

  labTest(
    `udp errors: ${ip}: the error queue tells of a router's packet too big, then of this host's own`,
    async () => {
      await using lab = await gatewayLab();
      await lab.host("gateway").output(["ip", "link", "set", "wan0", "mtu", "1400"]);
      const remote = `${family.server}:27015`;
      const observer = await ObservingClient.start(lab.host("client"), {
        local,
        remote,
        connected: false,
        receiveErrors: true,
        dontFragment: true,
        sendBytes: 1500 - family.headers,
        enough: 1,
      });
      const { entries, sentAgain, entriesAgain } = await observer.result();
      const [type, code] = family.tooBig;
      assertEquals(
        entries.map((
          entry,
        ) => [entry.errno, entry.origin, entry.type, entry.code, entry.info, entry.offender]),
        [["EMSGSIZE", family.origin, type, code, 1400, `${family.gateway}:0`]],
      );
      assert(entries[0]!.quoted > 400 && entries[0]!.whole);
      // IPv4 fills in the port that the socket is connected to (ip_local_error).
      const ownError = family.version === 4 ? `${family.server}:0` : remote;
      // From then on this host knows, and refuses the datagram itself, in both ways at once.
      assertEquals(sentAgain, "EMSGSIZE");
      assertEquals(
        entriesAgain.map((entry) => [entry.errno, entry.origin, entry.type, entry.info, entry.destination]),
        [["EMSGSIZE", SO_EE_ORIGIN_LOCAL, 0, 1400, ownError]],
      );
      assertEquals([entriesAgain[0]!.quoted, entriesAgain[0]!.offender], [0, undefined]);
    },
  );

  labTest(
    `udp errors: ${ip}: raw replies have any source, TOS and size, and the kernel fragments them`,
    async () => {
      await using lab = await gatewayLab();
      const sizes = [0, 1, 1200, 4000, 65_507];
      const remote = `${family.otherServer}:53`;
      const observer = await ObservingClient.start(lab.host("client"), {
        local,
        remote,
        // A plain client that takes answers from whom it asked alone.
        connected: true,
        receiveErrors: false,
        dontFragment: false,
        enough: sizes.length,
      });
      const table = family.version === 4 ? "/proc/net/raw" : "/proc/net/raw6";
      const sent = await act(
        lab,
        sizes.map((bytes) => ({ do: "reply", client: local, remote, bytes, tos: 0xb9 })),
        async () => {
          // Raw sockets are given copies of the host's datagrams; ours of none.
          const stranger = await ObservingClient.start(lab.host("client"), {
            local: `${family.client}:${CLIENT_PORT + 1}`,
            remote: `${family.gateway}:9`,
            connected: true,
            receiveErrors: false,
            dontFragment: false,
            sendBytes: 100,
            enough: 1,
          });
          assertEquals((await stranger.result()).errors, ["ECONNREFUSED"]);
          const ours = (await lab.host("gateway").output(["cat", table])).split("\n")
            .filter((line) => /:0011 /.test(line));
          assertEquals(ours.length, 1);
          // tx_queue:rx_queue, and the drops at the end.
          assertMatch(ours[0]!, / 0{8}:0{8} .* 0\s*$/);
        },
      );
      assertEquals(sent, sizes);
      assertEquals(
        (await observer.result()).datagrams,
        sizes.map((length) => ({ source: remote, length, whole: true, tos: 0xb9 })),
      );
    },
  );
}

labTest("udp errors: a client is sent so many errors and no more", async () => {
  await using lab = await silentLab();
  const action: UdpErrorAction = {
    do: "unreachable",
    errno: ECONNREFUSED,
    client: `${client.v4}:${CLIENT_PORT}`,
    remote: `${nowhere.v4}:9`,
    bytes: 10,
  };
  const sent = await act(lab, Array.from({ length: 100 }, () => action));
  const count = sent.filter((was) => was === true).length;
  // 20 at once, and one more for each 10 ms that sending them took.
  assert(count >= 20 && count < 60, `${count} of 100`);
  const [names, values] = (await lab.host("client").output(["cat", "/proc/net/snmp"])).split("\n")
    .filter((line) => line.startsWith("Icmp:")).map((line) => line.split(" "));
  assertEquals(Number(values![names!.indexOf("InDestUnreachs")]), count);
});
