// An HTTP/2 server. usage: node h2.js ADDRESS CERTIFICATE. Prints "ready" once it listens.
const [address, certificate] = process.argv.slice(2);
const pem = require('fs').readFileSync(certificate);
const server = require('http2').createSecureServer({ key: pem, cert: pem });
server.on('stream', (stream) => { stream.respond({ ':status': 200 }); stream.end('secret\n'); });
server.listen(443, address, () => console.log('ready'));
