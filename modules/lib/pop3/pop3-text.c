/* SPDX-License-Identifier: MIT
   POP3: the languages, and what each reply is in them. */
#include <config.h>

#include "modules/lib/pop3/pop3-text.h"

/* Formats are whole, with status; what replies hold as "%s" stands for itself. Sorted by use: before login, after it, errors from elsewhere. */
static const cv_text_row rows[] = {
	{ "+OK Begin TLS negotiation now.", "+OK TLS kann jetzt ausgehandelt werden.", "+OK La négociation TLS peut commencer." },
	{ "+OK Bye.", "+OK Auf Wiedersehen.", "+OK Au revoir." },
	{ "+OK Capability list follows.", "+OK Es folgt, was der Server kann.", "+OK Voici ce que le serveur sait faire." },
	{ "+OK Language listing follows.", "+OK Es folgen die Sprachen.", "+OK Voici les langues." },
	{ "+OK Mechanisms follow.", "+OK Es folgen die Verfahren.", "+OK Voici les mécanismes." },
	{ "+OK Send the password.", "+OK Nun das Passwort.", "+OK Envoyez le mot de passe." },
	{ "+OK UTF-8 mode is on.", "+OK UTF-8 ist eingeschaltet.", "+OK Le mode UTF-8 est actif." },
	{ "+OK %s The language was changed.", "+OK %s Die Sprache wurde gewechselt.", "+OK %s La langue a été changée." },
	{ "-ERR There is no language for %.*s.", "-ERR Es gibt keine Sprache für %.*s.", "-ERR Aucune langue ne convient à %.*s." },
	{ "-ERR Authentication was cancelled.", "-ERR Die Anmeldung wurde abgebrochen.", "-ERR L'authentification a été annulée." },
	{ "-ERR Send USER before.", "-ERR Zuerst muss USER kommen.", "-ERR Envoyez d'abord USER." },
	{ "-ERR USER needs a name.", "-ERR USER braucht einen Namen.", "-ERR USER demande un nom." },
	{ "-ERR TLS is active already.", "-ERR TLS ist schon eingeschaltet.", "-ERR TLS est déjà actif." },
	{ "-ERR TLS is not available.", "-ERR TLS gibt es hier nicht.", "-ERR TLS n'est pas disponible." },
	{ "-ERR APOP is not available here.", "-ERR APOP gibt es hier nicht.", "-ERR APOP n'est pas disponible ici." },
	{ "-ERR [AUTH] Passwords are taken over TLS only: use STLS before.",
		"-ERR [AUTH] Passwörter werden nur über TLS angenommen: zuerst STLS.",
		"-ERR [AUTH] Les mots de passe ne sont acceptés que sous TLS : utilisez d'abord STLS." },
	{ "-ERR [AUTH] USER and PASS are not allowed here.", "-ERR [AUTH] USER und PASS sind hier nicht erlaubt.",
		"-ERR [AUTH] USER et PASS ne sont pas permis ici." },
	{ "-ERR [SYS/TEMP] The server is shutting down.", "-ERR [SYS/TEMP] Der Server wird beendet.", "-ERR [SYS/TEMP] Le serveur s'arrête." },
	{ "-ERR [SYS/TEMP] Too many connections, try again later.", "-ERR [SYS/TEMP] Zu viele Verbindungen, bitte später wieder versuchen.",
		"-ERR [SYS/TEMP] Trop de connexions, réessayez plus tard." },
	{ "-ERR Too many invalid commands.", "-ERR Zu viele ungültige Befehle.", "-ERR Trop de commandes invalides." },
	{ "Authentication failed.", "Die Anmeldung ist fehlgeschlagen.", "L'authentification a échoué." },
	{ "Authentication is not possible now, try again later.", "Die Anmeldung ist gerade nicht möglich, bitte später wieder versuchen.",
		"L'authentification n'est pas possible pour le moment, réessayez plus tard." },
	{ "Invalid base64 in the initial response.", "Ungültiges Base64 in der ersten Antwort.", "Base64 invalide dans la réponse initiale." },
	{ "Invalid base64 in the response.", "Ungültiges Base64 in der Antwort.", "Base64 invalide dans la réponse." },
	{ "Line too long or with a NUL.", "Zeile zu lang oder mit einem NUL.", "Ligne trop longue, ou avec un NUL." },
	{ "Syntax: APOP name digest", "Syntax: APOP Name Prüfsumme", "Syntaxe : APOP nom condensat" },
	{ "Syntax: AUTH mechanism [initial-response]", "Syntax: AUTH Verfahren [erste Antwort]", "Syntaxe : AUTH mécanisme [réponse initiale]" },
	{ "This account may not act as that user.", "Dieses Konto darf nicht als dieser Benutzer handeln.", "Ce compte ne peut agir comme cet utilisateur." },
	{ "This account may not log in.", "Dieses Konto darf sich nicht anmelden.", "Ce compte ne peut pas se connecter." },
	{ "This command needs an argument.", "Dieser Befehl braucht ein Argument.", "Cette commande demande un argument." },
	{ "This command takes no argument.", "Dieser Befehl hat kein Argument.", "Cette commande ne prend pas d'argument." },
	{ "Too many logins, try again later.", "Zu viele Anmeldungen, bitte später wieder versuchen.", "Trop de connexions, réessayez plus tard." },
	{ "Your password has expired.", "Das Passwort ist abgelaufen.", "Votre mot de passe a expiré." },
	{ "Unknown command.", "Unbekannter Befehl.", "Commande inconnue." },

	{ "+OK %llu octets", "+OK %llu Oktette", "+OK %llu octets" },
	{ "+OK %u messages (%llu octets)", "+OK %u Nachrichten (%llu Oktette)", "+OK %u messages (%llu octets)" },
	{ "+OK Logged in.", "+OK Angemeldet.", "+OK Connecté." },
	{ "+OK Logging out, messages deleted.", "+OK Abgemeldet, die Nachrichten sind gelöscht.", "+OK Déconnexion, les messages sont supprimés." },
	{ "+OK Logging out.", "+OK Abgemeldet.", "+OK Déconnexion." },
	{ "+OK Marked to be deleted.", "+OK Zum Löschen vorgemerkt.", "+OK Marqué pour suppression." },
	{ "+OK Top of message follows.", "+OK Es folgt der Anfang der Nachricht.", "+OK Voici le début du message." },
	{ "+OK Unique-ids follow.", "+OK Es folgen die Kennungen.", "+OK Voici les identifiants." },
	{ "-ERR %sLogging out, messages were not deleted.", "-ERR %sAbgemeldet, aber die Nachrichten sind nicht gelöscht.",
		"-ERR %sDéconnexion, mais les messages ne sont pas supprimés." },
	{ "-ERR %sPermission denied.", "-ERR %sDas ist nicht erlaubt.", "-ERR %sPermission refusée." },
	{ "-ERR %sMessage %u cannot be read now.", "-ERR %sNachricht %u kann gerade nicht gelesen werden.",
		"-ERR %sLe message %u ne peut être lu pour le moment." },
	{ "-ERR [UTF8] Message %u can be sent in UTF-8 mode only.", "-ERR [UTF8] Nachricht %u gibt es nur mit UTF8.",
		"-ERR [UTF8] Le message %u ne peut être envoyé qu'en mode UTF-8." },
	{ "-ERR Message %u is deleted.", "-ERR Nachricht %u ist gelöscht.", "-ERR Le message %u est supprimé." },
	{ "-ERR Message %u was deleted by another session.", "-ERR Nachricht %u wurde von einer anderen Sitzung gelöscht.",
		"-ERR Le message %u a été supprimé par une autre session." },
	{ "-ERR There is no message %u.", "-ERR Es gibt keine Nachricht %u.", "-ERR Il n'y a pas de message %u." },
	{ "-ERR [LOGIN-DELAY] Wait %u seconds before you log in again.", "-ERR [LOGIN-DELAY] Bis zur nächsten Anmeldung müssen %u Sekunden vergehen.",
		"-ERR [LOGIN-DELAY] Attendez %u secondes avant de vous connecter de nouveau." },
	{ "-ERR [SYS/TEMP] Disconnected: %s.", "-ERR [SYS/TEMP] Verbindung beendet: %s.", "-ERR [SYS/TEMP] Déconnexion : %s." },
	{ "Invalid message number.", "Ungültige Nummer einer Nachricht.", "Numéro de message invalide." },
	{ "Syntax: TOP message lines", "Syntax: TOP Nachricht Zeilen", "Syntaxe : TOP message lignes" },
	{ "The maildrop is open in another POP3 session", "Das Postfach ist in einer anderen POP3-Sitzung offen",
		"La boîte est ouverte dans une autre session POP3" },

	{ "Login is not allowed now.", "Die Anmeldung ist jetzt nicht erlaubt.", "La connexion n'est pas permise maintenant." },
	{ "Plaintext authentication is not allowed without TLS", "Passwörter im Klartext sind ohne TLS nicht erlaubt",
		"Les mots de passe en clair ne sont pas permis sans TLS" },
	{ "Too many logins at a time, try again later.", "Zu viele Anmeldungen auf einmal, bitte später wieder versuchen.",
		"Trop de connexions à la fois, réessayez plus tard." },
	{ "Unsupported authentication mechanism", "Dieses Verfahren der Anmeldung gibt es nicht", "Mécanisme d'authentification inconnu" },
};

void cv_pop3_language_list(struct cv_buf *out)
{
	for (unsigned i = 0; i < CV_LANGUAGES; i++)
		cv_buf_printf(out, "%s %s\r\n", cv_language_tag(i), cv_language_name(i));
	cv_buf_append_c(out, ".\r\n");
}

const char *cv_pop3_text(unsigned language, const char *text)
{
	const char *translated = language == CV_ENGLISH ? text : cv_text_find(rows, CV_COUNT_OF(rows), language, text);

	return translated != NULL ? translated : text;
}

bool cv_pop3_text_row(size_t row, const char *texts_r[CV_LANGUAGES])
{
	if (row >= CV_COUNT_OF(rows))
		return false;
	for (size_t i = 0; i < CV_LANGUAGES; i++)
		texts_r[i] = rows[row][i];
	return true;
}
