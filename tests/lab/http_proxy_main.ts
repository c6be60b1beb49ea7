/**
 * An HTTP proxy (RFC 9110, CONNECT alone) for tests: `deno run -A http_proxy_main.ts SPEC`, with SPEC an HttpProxySpec as
 * JSON. Ends when its standard input does.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createServer } from "node:http";
import { connect } from "node:net";
import type { HttpProxyReport, HttpProxySpec } from "./http_proxy.ts";

function report(line: HttpProxyReport): void {
  console.log(JSON.stringify(line));
}

function listen({ port, login }: HttpProxySpec): void {
  const wanted = `Basic ${Buffer.from(`${login.username}:${login.password}`).toString("base64")}`;
  const server = createServer();
  server.on("connect", (request, client, head) => {
    const isKnown = request.headers["proxy-authorization"] === wanted;
    report({ event: "request", target: request.url!, isKnown });
    if (!isKnown) {
      client.end(
        'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="lab"\r\n\r\n',
      );
      return;
    }
    const { hostname, port } = new URL(`tcp://${request.url}`);
    const host = hostname.replace(/^\[|\]$/g, "");
    const destination = connect({ host, port: Number(port), allowHalfOpen: true }, () => {
      client.write("HTTP/1.1 200 OK\r\n\r\n");
      if (head.length > 0) destination.write(head);
      destination.pipe(client);
      client.pipe(destination);
    });
    destination.on("error", () => client.destroy());
    client.on("error", () => destination.destroy());
  });
  server.listen(port, "::", () => report({ event: "ready" }));
}

if (import.meta.main) {
  listen(JSON.parse(Deno.args[0]!) as HttpProxySpec);
  // Ends the program when standard input does: then the test is gone.
  for await (const _ of Deno.stdin.readable);
  Deno.exit(0);
}
