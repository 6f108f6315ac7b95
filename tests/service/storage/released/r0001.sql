BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE api_key (
	tenant VARCHAR NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	key_class VARCHAR NOT NULL, 
	label VARCHAR NOT NULL, 
	created_us BIGINT NOT NULL, 
	revoked_us BIGINT, 
	PRIMARY KEY (tenant, sha256)
);
INSERT INTO "api_key" VALUES('default','aa','ck','web',1795167000000000,NULL);
CREATE TABLE catalog_revision (
	tenant VARCHAR NOT NULL, 
	revision INTEGER NOT NULL, 
	digest VARCHAR NOT NULL, 
	files TEXT NOT NULL, 
	applied_us BIGINT NOT NULL, 
	applied_by VARCHAR NOT NULL, 
	superseded_us BIGINT, 
	PRIMARY KEY (tenant, revision)
);
INSERT INTO "catalog_revision" VALUES('default',1,'d1','{"metrics.yaml":"metrics: {}\n"}',1795167000000000,'maria',NULL);
CREATE TABLE event (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	tenant VARCHAR NOT NULL, 
	event_id VARCHAR NOT NULL, 
	type VARCHAR NOT NULL, 
	person_id VARCHAR NOT NULL, 
	user_id VARCHAR, 
	anonymous_id VARCHAR, 
	occurred_us BIGINT NOT NULL, 
	received_us BIGINT NOT NULL, 
	source VARCHAR NOT NULL, 
	trust VARCHAR NOT NULL, 
	properties TEXT NOT NULL, 
	CONSTRAINT event_id_once UNIQUE (tenant, event_id)
);
INSERT INTO "event" VALUES(1,'default','e01','Product Viewed','a:a1',NULL,'a1',1795167060000000,1795167062000000,'events','client','{"item_id":"item-1"}');
INSERT INTO "event" VALUES(2,'default','e02','Product Viewed','a:a1',NULL,'a1',1795167120000000,1795167122000000,'events','client','{"item_id":"item-2"}');
INSERT INTO "event" VALUES(3,'default','e03','Signed In','u:u1','u1','a1',1795167180000000,1795167182000000,'events','client','{}');
INSERT INTO "event" VALUES(4,'default','e04','Order Completed','u:u1','u1',NULL,1795167240000000,1795167242000000,'events','server','{"products":[{"product_id":"item-1","quantity":2}],"revenue":19.9}');
INSERT INTO "event" VALUES(5,'default','e05','Product Viewed','u:u1','u1','a1',1795167300000000,1795167302000000,'events','client','{"item_id":"item-2"}');
INSERT INTO "event" VALUES(6,'default','e06','Product Viewed','u:u1','u1','a2',1795167360000000,1795167362000000,'events','client','{"item_id":"item-0"}');
INSERT INTO "event" VALUES(7,'default','e07','Product Viewed','u:u2','u2','a2',1795167420000000,1795167422000000,'events','client','{"item_id":"item-1"}');
INSERT INTO "event" VALUES(8,'default','e08','Product Viewed','u:u2','u2','a2',1795167480000000,1795167482000000,'events','server','{"item_id":"item-2"}');
INSERT INTO "event" VALUES(9,'default','e09','Experiment Viewed','a:ünï',NULL,'ünï',1795167540000000,1795167542000000,'events','client','{"experiment_key":"button","variant_key":"loud","phase":1,"revision":1,"unit_id":"ünï"}');
INSERT INTO "event" VALUES(10,'default','e10','Product Viewed','u:u3','u3',NULL,1794907800000000,1795167602000000,'events','client','{"item_id":"item-1"}');
INSERT INTO "event" VALUES(11,'default','e11','Product Viewed','u:u3','u3',NULL,1795167660000000,1795167662000000,'events','client','{"item_id":"item-2"}');
INSERT INTO "event" VALUES(12,'default','e12','Product Viewed','a:o''brien',NULL,'o''brien',1795167720000000,1795167722000000,'events','server','{"text":"it''s; \"quoted\"","n":null}');
CREATE TABLE interaction (
	tenant VARCHAR NOT NULL, 
	person_id VARCHAR NOT NULL, 
	occurred_us BIGINT NOT NULL, 
	event_id VARCHAR NOT NULL, 
	item_id VARCHAR NOT NULL, 
	event_type VARCHAR NOT NULL, 
	quantity FLOAT NOT NULL, 
	PRIMARY KEY (tenant, person_id, occurred_us, event_id, item_id)
)
 WITHOUT ROWID

;
INSERT INTO "interaction" VALUES('default','a:a1',1795167060000000,'e01','item-1','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default','a:a1',1795167120000000,'e02','item-2','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default','a:a1',1795167300000000,'e05','item-2','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default','a:a2',1795167360000000,'e06','item-0','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default','a:a2',1795167420000000,'e07','item-1','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default','a:a2',1795167480000000,'e08','item-2','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default','u:u1',1795167240000000,'e04','item-1','Order Completed',2.0);
INSERT INTO "interaction" VALUES('default','u:u1',1795167300000000,'e05','item-2','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default','u:u1',1795167360000000,'e06','item-0','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default','u:u2',1795167420000000,'e07','item-1','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default','u:u2',1795167480000000,'e08','item-2','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default','u:u3',1794907800000000,'e10','item-1','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default','u:u3',1795167660000000,'e11','item-2','Product Viewed',1.0);
CREATE TABLE item (
	tenant VARCHAR NOT NULL, 
	item_id VARCHAR NOT NULL, 
	fields TEXT NOT NULL, 
	categories TEXT NOT NULL, 
	active INTEGER NOT NULL, 
	PRIMARY KEY (tenant, item_id)
);
INSERT INTO "item" VALUES('default','item-1','{"title":"Tea"}','["tea"]',1);
CREATE TABLE kill_switch (
	tenant VARCHAR NOT NULL, 
	"key" VARCHAR NOT NULL, 
	killed INTEGER NOT NULL, 
	changed_by VARCHAR NOT NULL, 
	changed_us BIGINT NOT NULL, 
	PRIMARY KEY (tenant, "key")
);
INSERT INTO "kill_switch" VALUES('default','button',1,'maria',1795167000000000);
CREATE TABLE live_state (
	tenant VARCHAR NOT NULL, 
	version BIGINT NOT NULL, 
	revision INTEGER NOT NULL, 
	model VARCHAR NOT NULL, 
	model_since_us BIGINT, 
	killed TEXT NOT NULL, 
	PRIMARY KEY (tenant)
);
INSERT INTO "live_state" VALUES('default',4,1,'m1',1795167000000000,'["button"]');
CREATE TABLE quarantine (
	tenant VARCHAR NOT NULL, 
	digest VARCHAR NOT NULL, 
	event_id VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	detail TEXT NOT NULL, 
	body TEXT NOT NULL, 
	experiment VARCHAR, 
	phase BIGINT, 
	person_id VARCHAR, 
	user_id VARCHAR, 
	anonymous_id VARCHAR, 
	unit_id VARCHAR, 
	received_us BIGINT NOT NULL, 
	source VARCHAR NOT NULL, 
	trust VARCHAR NOT NULL, 
	PRIMARY KEY (tenant, digest)
);
INSERT INTO "quarantine" VALUES('default','0cedbda36116ef00cfab000cff057f743535f6b40bfed6e42b8b47d2ffb8a2a9','bad1','invalid_event','type: missing','{"event_id":"bad1","user_id":"u1"}',NULL,NULL,'u:u1','u1',NULL,NULL,1795167000000000,'events','client');
INSERT INTO "quarantine" VALUES('default','cdaa9642d85f151e64cfe7f3ac3a6e775b368c9e227332ffd4bca6ae7026b103','bad2','variant_mismatch','control was assigned','{"type":"Experiment Viewed","event_id":"bad2","anonymous_id":"a9","properties":{"experiment_key":"button","phase":1}}','button',1,'a:a9',NULL,'a9',NULL,1795167000000000,'segment','client');
CREATE TABLE session (
	tenant VARCHAR NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	key_class VARCHAR NOT NULL, 
	expires_us BIGINT NOT NULL, 
	PRIMARY KEY (tenant, sha256)
);
INSERT INTO "session" VALUES('default','cc','ak',1795167000000000);
CREATE TABLE sign_in (
	tenant VARCHAR NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	key_class VARCHAR NOT NULL, 
	expires_us BIGINT NOT NULL, 
	used_us BIGINT, 
	PRIMARY KEY (tenant, sha256)
);
INSERT INTO "sign_in" VALUES('default','bb','rk',1795167000000000,NULL);
CREATE TABLE slate (
	tenant VARCHAR NOT NULL, 
	slate_id VARCHAR NOT NULL, 
	person_id VARCHAR NOT NULL, 
	placement VARCHAR NOT NULL, 
	recommender VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	items TEXT NOT NULL, 
	created_us BIGINT NOT NULL, 
	PRIMARY KEY (tenant, slate_id)
);
INSERT INTO "slate" VALUES('default','s1','u:u1','home','discovery','m1','model','["item-1"]',1795167000000000);
CREATE TABLE verdict_snapshot (
	tenant VARCHAR NOT NULL, 
	experiment VARCHAR NOT NULL, 
	phase INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	revision INTEGER NOT NULL, 
	log_offset BIGINT NOT NULL, 
	as_of_us BIGINT NOT NULL, 
	computed_us BIGINT NOT NULL, 
	digest VARCHAR NOT NULL, 
	decision VARCHAR NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (tenant, experiment, phase, number)
);
INSERT INTO "verdict_snapshot" VALUES('default','button',1,1,1,12,1795167000000000,1795167000000000,'dd','keep_running','{"decision":"keep_running"}');
CREATE INDEX quarantine_by_experiment ON quarantine (tenant, experiment, phase, reason);
CREATE INDEX quarantine_by_anonymous ON quarantine (tenant, anonymous_id);
CREATE INDEX quarantine_by_reason ON quarantine (tenant, reason);
CREATE INDEX quarantine_by_unit ON quarantine (tenant, unit_id);
CREATE INDEX quarantine_by_user ON quarantine (tenant, user_id);
CREATE INDEX slate_by_person ON slate (tenant, person_id);
CREATE INDEX slate_by_time ON slate (tenant, created_us);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('event',12);
COMMIT;
