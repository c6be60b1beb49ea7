import { parseEndpoint } from "../net/mod.ts";
import { assertEquals } from "../tests/assert.ts";
import { Loopback } from "../tests/loopback.ts";
import { AF_INET, SOCK_DGRAM } from "./constants.ts";
import { encodeSockaddr, SOCKADDR_IN6_BYTES } from "./sockaddr.ts";
import { SockDiag } from "./sock_diag.ts";

const IPPROTO_TCP = 6, IPPROTO_UDP = 17;

/** Asks about sockets of `loopback`. */
function diagnose(loopback: Loopback) {
  const { sys, arena } = loopback;
  const diag = new SockDiag(sys, arena);
  const from = arena.allocate(SOCKADDR_IN6_BYTES), to = arena.allocate(SOCKADDR_IN6_BYTES);
  const ownerOf = (protocol: number, fromText: string, toText: string): number => {
    encodeSockaddr(parseEndpoint(fromText)!, from.bytes);
    encodeSockaddr(parseEndpoint(toText)!, to.bytes);
    return diag.ownerOf(protocol, arena.words, from.offset >> 2, to.offset >> 2);
  };
  return { diag, ownerOf };
}

Deno.test("SockDiag: whose a connection of this host is, and that nobody has one that there is not", async () => {
  using loopback = new Loopback();
  const { diag, ownerOf } = diagnose(loopback);
  for (const hostname of ["127.0.0.1", "::1"]) {
    using listener = Deno.listen({ hostname, port: 0 });
    using dialled = await Deno.connect({ hostname, port: listener.addr.port });
    using _accepted = await listener.accept();
    const text = ({ port }: { port: number }) => hostname === "::1" ? `[::1]:${port}` : `${hostname}:${port}`;
    const near = text(dialled.localAddr), far = text(dialled.remoteAddr);
    assertEquals(ownerOf(IPPROTO_TCP, near, far), Deno.uid());
    assertEquals(ownerOf(IPPROTO_TCP, near, text({ port: 9 })), -1);
    // The listener would answer for every connection to it.
    assertEquals(ownerOf(IPPROTO_TCP, far, text({ port: 9 })), -1);
    assertEquals(ownerOf(IPPROTO_UDP, near, far), -1);
  }
  diag.close();
});

Deno.test("SockDiag: whose a datagram socket is, connected or not", () => {
  using loopback = new Loopback();
  const { diag, ownerOf } = diagnose(loopback);
  using socket = loopback.sockets.open(AF_INET, SOCK_DGRAM);
  socket.bind(parseEndpoint("127.0.0.1:0")!);
  const { port } = socket.localEndpoint();
  assertEquals(ownerOf(IPPROTO_UDP, `127.0.0.1:${port}`, "192.0.2.1:9"), Deno.uid());
  assertEquals(ownerOf(IPPROTO_UDP, "192.0.2.1:9", `127.0.0.1:${port}`), -1);
  diag.close();
});

Deno.test("SockDiag: where it may not ask, nothing is known, and nothing stays open", () => {
  using loopback = new Loopback();
  const { sys, arena } = loopback;
  const refusing = new SockDiag({ ...sys, socket: () => -1 }, arena);
  assertEquals(refusing.ownerOf(IPPROTO_TCP, arena.words, 0, 8), -1);
  const open = new Set<number>();
  const watched = new SockDiag({
    ...sys,
    socket: (...args) => {
      const fd = sys.socket(...args);
      open.add(fd);
      return fd;
    },
    close: (fd) => {
      open.delete(fd);
      return sys.close(fd);
    },
    send: () => -11,
  }, arena);
  assertEquals([watched.ownerOf(IPPROTO_TCP, arena.words, 0, 8), open.size], [-1, 1]);
  watched.close();
  watched.close();
  assertEquals(open.size, 0);
});
