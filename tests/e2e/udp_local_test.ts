/**
 * `--local`: what programs on this host send is carried as well, and what they serve is left alone.
 */
import { assertEquals, assertNotEquals } from "../assert.ts";
import { DatagramClient, labTest, type MappingAnswer, seededSha256 } from "../lab/mod.ts";
import { DatagramSite, endpoint, FAMILIES, SOURCES } from "./datagram_site.ts";

const LOOPBACK = { v4: "127.0.0.1", v6: "::1" } as const;

for (const source of SOURCES) {
  labTest(
    `udp local: source ${source}: this host's own datagrams, from connected sockets and others`,
    async () => {
      await using site = await DatagramSite.start({ source, flags: ["--local"] });
      const mapping = await site.internet.serveDatagrams({ kind: "mapping", reports: false });
      const echo = await site.internet.serveDatagrams({ kind: "echo" });
      await using programs = new DatagramClient(site.gateway);
      for (const family of FAMILIES) {
        const to = endpoint(family.server, mapping.port);
        const sockets = [
          await programs.open({ from: endpoint(family.any, 0) }),
          await programs.open({ from: endpoint(family.wan, 0) }),
          await programs.open({ to }),
        ];
        for (const [at, socket] of sockets.entries()) {
          const { from, text } = await socket.ask(
            at === 2 ? { text: "who am I?" } : { to, text: "who am I?" },
          );
          const { mapped, asked } = JSON.parse(text!) as MappingAnswer;
          assertEquals([from, asked], [to, to]);
          // The program's socket has its port already: ours is another one of the same parity.
          const port = Number(mapped.slice(mapped.lastIndexOf(":") + 1));
          assertEquals(mapped, endpoint(family.wan, port));
          assertNotEquals(port, socket.port);
          assertEquals(port % 2, socket.port % 2);
        }
        const socket = sockets[0]!;
        for (const bytes of [0, 1472, 9000, family.longest]) {
          const answer = await socket.ask({
            to: endpoint(family.serverB, echo.port),
            bytes,
            seed: bytes,
            tos: 0x0a,
          });
          assertEquals([answer.bytes, answer.sha256, answer.tos], [bytes, seededSha256(bytes, bytes), 0x0a]);
        }
      }
      assertEquals((await site.stop()).udpSessionsOpened, 6);
    },
  );

  labTest(
    `udp local: source ${source}: a port where nobody listens refuses, for connected sockets too`,
    async () => {
      await using site = await DatagramSite.start({ source, flags: ["--local"] });
      await using programs = new DatagramClient(site.gateway);
      for (const family of FAMILIES) {
        const to = endpoint(family.server, 9);
        const socket = await programs.open({ from: endpoint(family.any, 0) });
        await socket.send({ to, text: "anybody there?" });
        const { code, to: told, quoted } = await socket.failed();
        assertEquals([code, told, quoted], ["ECONNREFUSED", to, "anybody there?"]);
        const connected = await programs.open({ to, queueErrors: false });
        await connected.send({ text: "anybody there?" });
        assertEquals((await connected.failed()).code, "ECONNREFUSED");
      }
      assertEquals((await site.stop()).udpSessionsOpened, 4);
    },
  );

  labTest(
    `udp local: source ${source}: what this host serves, and what stays on it, is not touched`,
    async () => {
      await using site = await DatagramSite.start({ source, flags: ["--local"] });
      const service = await site.gateway.serveDatagrams({ kind: "echo" });
      await using programs = new DatagramClient(site.gateway);
      await using outside = new DatagramClient(site.internet);
      for (const family of FAMILIES) {
        const inside = await site.open(family.client);
        for (const address of [family.lan, family.wan]) {
          const to = endpoint(address, service.port);
          assertEquals((await inside.ask({ to, text: "from inside" })).from, to);
          assertEquals((await service.received()).from, inside.local);
        }
        const stranger = await outside.open({ from: endpoint(family.server, 0) });
        const to = endpoint(family.wan, service.port);
        assertEquals((await stranger.ask({ to, text: "from outside" })).from, to);
        assertEquals((await service.received()).from, stranger.local);
        const local = await programs.open({ from: endpoint(LOOPBACK[family.name], 0) });
        const loopback = endpoint(LOOPBACK[family.name], service.port);
        assertEquals((await local.ask({ to: loopback, text: "from here" })).from, loopback);
        assertEquals((await service.received()).from, local.local);
      }
      assertEquals((await site.stop()).udpSessionsOpened, 0);
    },
  );
}
