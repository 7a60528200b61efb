// Sends a message by nodemailer.
'use strict';

const nodemailer = require('nodemailer');
const { locate, run } = require('./common');

run(async asked => {
	const place = asked.dns ?
		await locate(asked.dns, asked.service, asked.domain) : asked;
	const transport = nodemailer.createTransport({
		host: place.address,
		port: place.port,
		secure: asked.secure,
		requireTLS: !asked.secure,
		name: 'client.example',
		authMethod: asked.method,
		auth: asked.auth,
		tls: {
			ca: require('fs').readFileSync(asked.ca),
			servername: place.name,
		},
	});
	const done = await transport.sendMail(asked.mail);

	transport.close();
	return { accepted: done.accepted, response: done.response, place };
});
