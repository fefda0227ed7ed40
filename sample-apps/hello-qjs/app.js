// hello in JavaScript for WASI 0.3, on QuickJS. This engine has no TextEncoder and no URL: bytes are written by hand.
import { Fields, Response } from "wasi:http/types@0.3.2";

export const handler = {
  async handle(request) {
    const text = `Hello from QuickJS on WASI 0.3! You asked for ${request.getPathWithQuery() ?? "/"}\n`;
    const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
    const [response] = Response.new(new Fields(), [bytes][Symbol.iterator](), Promise.resolve(null));
    return response;
  },
};
