import { AF_INET, AF_INET6, EADDRNOTAVAIL, EAFNOSUPPORT, SocketFactory, SyscallError } from "../ffi/mod.ts";
import { assert, assertEquals, assertGreater, assertThrows } from "../tests/assert.ts";
import { Loopback } from "../tests/loopback.ts";
import { openDatagramListener } from "./datagram_listener.ts";

const PLAIN = { port: 0, receiveBufferBytes: 65536, prepare: () => {} } as const;

Deno.test("openDatagramListener: one port for both families, and for nobody else", () => {
  using loopback = new Loopback();
  using four = openDatagramListener(loopback.sockets, { ...PLAIN, family: 4 });
  const { port, address } = four!.localEndpoint();
  assertGreater(port, 0);
  assertEquals(address.text, "0.0.0.0");
  using six = openDatagramListener(loopback.sockets, { ...PLAIN, family: 6, port });
  assertEquals(six?.localEndpoint(), { address: { family: 6, text: "::" }, port });
  const again = () => openDatagramListener(loopback.sockets, { ...PLAIN, family: 4, port });
  assertThrows(again, SyscallError, "EADDRINUSE");
});

Deno.test("openDatagramListener: prepares a socket before it is bound", () => {
  using loopback = new Loopback();
  const ports: number[] = [];
  using socket = openDatagramListener(loopback.sockets, {
    ...PLAIN,
    family: 4,
    prepare: (socket) => ports.push(socket.localEndpoint().port),
  });
  assertEquals(ports, [0]);
  assert(socket!.fd >= 0);
});

Deno.test("openDatagramListener: no IPv6 is no error, no IPv4 is one, and no socket stays open", () => {
  using loopback = new Loopback();
  const { sys, arena } = loopback;
  const closed: number[] = [];
  const close = (fd: number) => {
    closed.push(fd);
    return sys.close(fd);
  };
  for (const family of [4, 6] as const) {
    const domain = family === 4 ? AF_INET : AF_INET6;
    const socket: typeof sys.socket = (wanted, type, protocol) =>
      wanted === domain ? -EAFNOSUPPORT : sys.socket(wanted, type, protocol);
    const unknown = new SocketFactory({ ...sys, socket }, arena);
    const addressless = new SocketFactory({ ...sys, bind: () => -EADDRNOTAVAIL, close }, arena);
    for (const sockets of [unknown, addressless]) {
      const open = () => openDatagramListener(sockets, { ...PLAIN, family });
      if (family === 6) assertEquals(open(), undefined);
      else assertThrows(open, SyscallError);
    }
  }
  assertEquals(closed.length, 2);
});
